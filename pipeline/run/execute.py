"""One execution of a job: its file in the store, its accounting, and how it ended."""

import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import Any

from pipeline.answering.recheck import Boilerplates, Rechecked
from pipeline.cluster.counters import RateWindow, RunCounts, RunProgress, StageCounts
from pipeline.cluster.reporter import Replicas
from pipeline.cluster.session import cluster
from pipeline.config.schema import Job
from pipeline.core.accounting import Totals
from pipeline.core.errors import OvernightError, StorageError, describe
from pipeline.core.filesystem import Storage
from pipeline.flow import Prepared, answer, survey
from pipeline.prompting.template import load_prompt
from pipeline.run.monitor import Progress, Watch
from pipeline.run.plan import WorkPlan
from pipeline.run.recheck import recheck
from pipeline.run.shutdown import grace
from pipeline.store.run_file import RunFile, RunStatus, all_runs

EXIT_CODES: dict[RunStatus, int] = {"done": 0, "over_budget": 1, "failed": 3, "interrupted": 130}


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


def execute(
    prepared: Prepared,
    progress: Progress,
    debug: bool = False,
    run_id: str | None = None,
    ended: Callable[[dict[str, Any]], object] = lambda _: None,
) -> dict[str, Any]:
    """Runs a job to its end and returns what its `run.json` holds, `status` first of all.

    Under a `run_id` that its scheduler gave it, it goes on where an earlier start ended. Errors are
    recorded there and raised; an interruption is recorded and returned. However it ends, `ended` is
    called with what was recorded.
    """
    job, prompt = prepared.job, prepared.source.described()
    file = (
        RunFile.of_named(prepared.store, job, prompt, run_id)
        if run_id
        else RunFile.of_new(prepared.store, job, prompt)
    )
    totals, timings = Totals(), Timings()
    answered_by: list[dict[str, Any]] = []

    def end(status: RunStatus, error: str | None = None) -> dict[str, Any]:
        document = file.content(status, totals, timings.as_dict(), error, answered_by)
        try:
            file.write(document)
        finally:
            ended(document)
        return document

    def sign() -> None:
        file.write(file.content("running", totals, timings.as_dict()))

    try:
        sign()
        with (
            file.signs_of_life(sign),
            cluster(job.engine, debug),
            closing(Replicas(job.engine)) as replicas,
        ):
            timings.cluster_ready = timings.so_far()
            watch = Watch(job.name, prepared.extent, totals, replicas, progress)
            with watch.kept(), grace(job.grace_seconds, replicas.end, watch.is_all_stored) as told:
                for receipt in answer(prepared, file.run_id, replicas):
                    if timings.first_rows is None and receipt.sums["parts"]:
                        timings.first_rows = timings.so_far()
                    watch.add(receipt)
            answered_by = replicas.listed()
        totals.check()
    except (KeyboardInterrupt, SystemExit):
        totals.leave_rest_unread()
        return end("interrupted")
    except Exception as error:
        with suppress(StorageError):  # a store that fails may be what ended the run
            end("failed", str(error) if isinstance(error, OvernightError) else describe(error))
        raise
    if told.is_set():
        return end("interrupted")
    return end("over_budget" if _failed_share(totals, file) > job.failure_budget else "done")


def recheck_store(
    job: Job, progress: Callable[[Rechecked], None], debug: bool = False
) -> tuple[str, Rechecked]:
    """Judges a store's answers again; returns the id of the run that did, and what changed."""
    storage = Storage(job.storage)
    store = storage.at(job.output.uri)
    source = load_prompt(job.prompt.template, job.answer.max_words)
    file = RunFile.of_new(store, job, source.described(), "recheck")
    found, timings = Rechecked(), Timings()
    boilerplates = Boilerplates.of_runs(all_runs(store), job.input.text)

    def note(status: RunStatus, error: str | None = None) -> None:
        file.write(file.content(status, timings=timings.as_dict(), error=error))

    note("running")
    try:
        with file.signs_of_life(lambda: note("running")), cluster(debug=debug):
            timings.cluster_ready = timings.so_far()
            for receipt in recheck(store, job, boilerplates, storage, file.run_id):
                found.add(receipt)
                progress(found)
    except (KeyboardInterrupt, SystemExit):
        note("interrupted")
        raise KeyboardInterrupt from None
    except OvernightError as error:
        note("failed", str(error))
        raise
    note("done")
    return file.run_id, found


def foresee(
    prepared: Prepared, progress: Progress, examples: int = 0, debug: bool = False
) -> WorkPlan:
    """What a run would find and do, with at most so many examples; changes nothing."""
    outlook, pace = WorkPlan(), RateWindow()
    with cluster(debug=debug):
        for receipt in survey(prepared, examples):
            outlook.add(receipt)
            outlook.examples = outlook.examples[:examples]
            headway = RunCounts(StageCounts.of(outlook.totals))
            rates = pace.rates(headway, time.monotonic())
            progress(RunProgress(outlook.totals, headway, rates, prepared.extent))
    return outlook


def _failed_share(totals: Totals, file: RunFile) -> float:
    """Failed answers among those that the run has generated, in its earlier starts too: what is
    current when a scheduler starts it again was no success for that.
    """
    starts = [totals.counts, *(start["counts"] or {} for start in file.resumed)]
    answered, failed = (sum(c.get(s, 0) for c in starts) for s in ("answered", "failed"))
    return failed / (answered + failed) if failed else 0.0
