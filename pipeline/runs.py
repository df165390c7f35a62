"""One execution of a job: its file in the store, its accounting, and how it ended."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pipeline.cluster import cluster
from pipeline.errors import OvernightError
from pipeline.flow import Prepared, answer, survey
from pipeline.replicas import Replicas
from pipeline.store.parts import new_run_id
from pipeline.store.runs import RunFile, RunStatus
from pipeline.totals import Totals

EXIT_CODES: dict[RunStatus, int] = {"done": 0, "over_budget": 1, "failed": 3, "interrupted": 130}

Progress = Callable[[Totals], None]


@dataclass(slots=True)
class Timings:
    """Seconds since the run began."""

    began: float = field(default_factory=time.monotonic)
    cluster_ready: float | None = None
    first_rows: float | None = None

    def so_far(self) -> float:
        return round(time.monotonic() - self.began, 3)

    def as_dict(self) -> dict[str, float | None]:
        return {
            "cluster_ready": self.cluster_ready,
            "first_rows": self.first_rows,
            "total": self.so_far(),
        }


def execute(prepared: Prepared, progress: Progress, debug: bool = False) -> dict[str, Any]:
    """Runs a job to its end and returns what its `run.json` holds, `status` first of all.

    Errors are recorded there and raised; an interruption is recorded and returned.
    """
    job, started = prepared.job, datetime.now(UTC)
    run_id = new_run_id(started)
    file = RunFile(prepared.store, run_id, job, prepared.source.described(), started)
    totals, timings = Totals(), Timings()
    file.write("running")
    try:
        with cluster(job.engine, debug):
            timings.cluster_ready = timings.so_far()
            replicas = Replicas(job.engine)
            for receipt in answer(prepared, run_id, replicas):
                totals.add(receipt)
                if timings.first_rows is None and receipt.sums["parts"]:
                    timings.first_rows = timings.so_far()
                progress(totals)
            answered_by = replicas.listed()
        totals.check()
    except (KeyboardInterrupt, SystemExit):
        return file.write("interrupted", totals, timings.as_dict())
    except OvernightError as error:
        file.write("failed", totals, timings.as_dict(), str(error))
        raise
    status = _status(totals, job.failure_budget)
    return file.write(status, totals, timings.as_dict(), replicas=answered_by)


def foresee(prepared: Prepared, progress: Progress, debug: bool = False) -> Totals:
    """What a run would find and do; changes nothing."""
    totals = Totals()
    with cluster(debug=debug):
        for receipt in survey(prepared):
            totals.add(receipt)
            progress(totals)
    return totals


def failed_share(totals: Totals) -> float:
    """Failed answers among those that the run generated."""
    states = totals.states
    generated = states["answered"] + states["failed"]
    return states["failed"] / generated if generated else 0.0


def _status(totals: Totals, budget: float) -> RunStatus:
    return "over_budget" if failed_share(totals) > budget else "done"
