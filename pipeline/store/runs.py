"""The runs of a store, as their run files describe them, and what they have measured."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from pipeline.config.bucket import WHOLE, Bucket
from pipeline.config.schema import EngineConfig, Job
from pipeline.core.filesystem import Location, storage_errors
from pipeline.store.schema import RUNS_FOLDER

LATEST_RUNS = 20

HEARTBEAT_TIMEOUT = timedelta(minutes=3)
"""A run that has been silent for this long counts as killed."""

NEVER_SEEN = "1970-01-01T00:00:00+00:00"
"""`seen_at` of run files from versions that wrote no heartbeats."""

FEWEST_MEASURED = 20
"""Records that a run must have generated for its rate to mean anything."""

_RUN_FILE = re.compile(r"(?P<kind>run|started)(-(?P<number>\d+))?\.json")


def latest_runs(store: Location) -> Iterator[dict[str, Any]]:
    """The run files of a store's latest `LATEST_RUNS` runs, oldest first."""
    return _read(store, _run_files(store.join(RUNS_FOLDER))[-LATEST_RUNS:])


def all_runs(store: Location) -> Iterator[dict[str, Any]]:
    """The run files of all runs of a store, oldest first."""
    return _read(store, _run_files(store.join(RUNS_FOLDER)))


def run_named(store: Location, run_id: str) -> dict[str, Any] | None:
    """The newest file of one run, or None if the store has no such run."""
    return next(_read(store, _run_files(store.join(RUNS_FOLDER, run_id))), None)


def active_runs(store: Location, bucket: Bucket = WHOLE) -> list[str]:
    """Ids of the runs that are working on a bucket of a store, going by their heartbeats.

    Assumes that the clocks of all machines agree to within a minute or so.
    """
    since = datetime.now(UTC) - HEARTBEAT_TIMEOUT
    return [
        str(run["run_id"])
        for run in latest_runs(store)
        if run["status"] == "running"
        and datetime.fromisoformat(run.get("seen_at", NEVER_SEEN)) > since
        and Bucket.parse(run["job"]["input"].get("bucket", WHOLE)).overlaps(bucket)
    ]


def _run_files(folder: Location) -> list[str]:
    """The newest file of every run at or below a folder, the latest run's last."""
    newest: dict[str, tuple[float, int, bool, str]] = {}
    for path, time in folder.file_times().items():
        run, _, name = path.rpartition("/")
        if match := _RUN_FILE.fullmatch(name):
            # Object stores give times in whole seconds: of a tie the later start is the newer one,
            # and of one start the final file.
            file = (time, int(match["number"] or 1), match["kind"] == "run", path)
            newest[run] = max(newest.get(run, file), file)
    return [file[-1] for file in sorted(newest.values())]


def _read(store: Location, paths: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The contents of run files, in the order in which the runs started."""
    runs: list[dict[str, Any]] = []
    for path in paths:
        file = Location(store.fs, path)
        with storage_errors(file.uri):
            runs.append(orjson.loads(file.fs.cat_file(path)))
    yield from sorted(runs, key=lambda run: str(run["started_at"]))


@dataclass(frozen=True, slots=True)
class Measured:
    """What a run with the same engine and model has measured, model loading included.

    `rate` is in tokens per second per GPU (per replica, without GPUs), prompt and completion
    together; the other tokens are means per record, all its attempts together. Of equal prompts one
    counts, which was generated for all of them.
    """

    run_id: str
    rate: float
    completion_tokens: float
    reasoning_tokens: float  # of the completion's


def last_measured(store: Location, job: Job) -> Measured | None:
    """The latest run with a job's engine and model that generated enough to measure."""
    wanted = job.engine.model_dump(include={"kind", "model"})
    for run in reversed(list(latest_runs(store))):
        engine = run["job"]["engine"]
        counts, sums = (run.get(section) or {} for section in ("counts", "sums"))
        records = counts.get("answered", 0) + counts.get("failed", 0)
        records -= sums.get("shared_generations", 0)
        if (
            run.get("command", "run") != "run"
            or records < FEWEST_MEASURED
            or any(engine[name] != wanted[name] for name in wanted)
        ):
            continue
        tokens = sums.get("prompt_tokens", 0) + sums.get("completion_tokens", 0)
        seconds = replica_seconds(run) * max(EngineConfig.model_validate(engine).gpus, 1)
        if tokens and seconds > 0:
            completion, reasoning = (
                sums.get(name, 0) / records for name in ("completion_tokens", "reasoning_tokens")
            )
            return Measured(run["run_id"], tokens / seconds, completion, reasoning)
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
