"""What earlier runs of a store have measured, as a basis for estimates."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.config.schema import EngineConfig, Job
from pipeline.core.filesystem import Location
from pipeline.store.runs import latest_runs

FEWEST_MEASURED = 20
"""Records that a run must have generated for its rate to mean anything."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a run with the same engine and model has measured, model loading included.

    `rate` is in tokens per second per GPU (per replica, without GPUs), prompt and completion
    together; `completion_tokens` is the mean per record, all its attempts together.
    """

    run_id: str
    rate: float
    completion_tokens: float


def last_measured(store: Location, job: Job) -> Measured | None:
    """The latest run with a job's engine and model that generated enough to measure."""
    wanted = job.engine.model_dump(include={"kind", "model"})
    for run in reversed(list(latest_runs(store))):
        engine = run["job"]["engine"]
        counts, sums = (run.get(section) or {} for section in ("counts", "sums"))
        records = counts.get("answered", 0) + counts.get("failed", 0)
        if (
            run.get("command", "run") != "run"
            or records < FEWEST_MEASURED
            or any(engine[name] != wanted[name] for name in wanted)
        ):
            continue
        tokens = sums.get("prompt_tokens", 0) + sums.get("completion_tokens", 0)
        seconds = replica_seconds(run) * max(EngineConfig.model_validate(engine).gpus, 1)
        if tokens and seconds > 0:
            rate = tokens / seconds
            return Measured(run["run_id"], rate, sums["completion_tokens"] / records)
    return None


def replica_seconds(run: Mapping[str, Any]) -> float:
    """For how long a run held its replicas, summed over all of them."""
    timings = run.get("timings") or {}
    if not timings.get("cluster_ready") or not timings.get("total"):
        return 0.0
    if listed := [r["seconds"] for r in run.get("replicas", ()) if "seconds" in r]:
        return float(sum(listed))
    seconds: float = timings["total"] - timings["cluster_ready"]
    return EngineConfig.model_validate(run["job"]["engine"]).replicas.max * seconds
