"""Runs a job to its end."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from pipeline.answering.checks import digests_of
from pipeline.answering.prepare import Prepared
from pipeline.cluster.executor import Executor
from pipeline.core.accounting import Totals
from pipeline.engines import sequences_of
from pipeline.engines.reasoning_parsers import described
from pipeline.flow import outcomes
from pipeline.runs.deadline import DeadlineWatch
from pipeline.runs.monitor import Monitor, Watcher
from pipeline.runs.progress import InputBounds
from pipeline.runs.recorder import Document, RunRecorder
from pipeline.store.run_file import RunFile


def execute(
    prepared: Prepared,
    executor: Executor,
    watchers: Sequence[Watcher] = (),
    run_id: str | None = None,
    on_end: Callable[[Document], object] = lambda _: None,
) -> Document:
    """Runs a job and returns what its `run.json` holds, `status` first of all.

    Under a `run_id` that its scheduler gave it, it goes on from an earlier start. Errors are
    recorded and raised; an interruption is recorded and returned. However the run ends, `on_end` is
    called with what was recorded.
    """
    totals, file = Totals(), _run_file(prepared, run_id)
    with RunRecorder(file, totals, on_end, prepared.selection.limit) as record:
        grace, sequences = prepared.job.grace_seconds, sequences_of(prepared.job)
        watch = DeadlineWatch(file.deadline, grace, sequences, record.shutdown)
        if record.cost.is_spent:
            record.shutdown.request("budget", 0)
        elif not watch.is_over():
            with executor:
                _answer(prepared, executor, totals, record, [*watchers, watch], watch)
    return record.document


def _answer(
    prepared: Prepared,
    executor: Executor,
    totals: Totals,
    record: RunRecorder,
    watchers: Sequence[Watcher],
    watch: DeadlineWatch,
) -> None:
    record.timings.cluster_ready = joined = record.timings.now()
    executor.open_account(record.cost.terms)
    stop = partial(record.shutdown.request, "budget", prepared.job.grace_seconds)
    watchers = [record.timings.look, record.cost.watcher(stop), *watchers]
    bounds = InputBounds(prepared.input_bytes, prepared.selection.limit)
    monitor = Monitor(bounds, totals, executor.counts, watchers, record.file.deadline_shown)
    record.remaining = monitor.remaining
    with (
        monitor.watching(),
        record.shutdown.listening(executor.end),
        watch.watching(joined),
        record.cost.watching(record.write, executor.allow),
    ):
        for stored in outcomes(prepared, executor, record.file.run_id):
            if record.timings.first_rows is None and stored.sums["parts"]:
                record.timings.first_rows = record.timings.now()
            monitor.add(stored)
            if record.shutdown.is_requested and monitor.is_all_stored():
                break  # what is left of the flow was read and will not be answered
    record.replicas, record.ids = list(executor.replicas()), executor.identities.summary()


def _run_file(prepared: Prepared, run_id: str | None) -> RunFile:
    store, job, prompt = prepared.store, prepared.job, prepared.source.described()
    file = RunFile.named(store, job, prompt, run_id) if run_id else RunFile.new(store, job, prompt)
    own_checks = digests_of(prepared.evaluator.checks)
    judge = prepared.judge.described() if prepared.judge else None
    return replace(
        file,
        reasoning=described(job),
        own_checks=own_checks,
        judge=judge,
        selection=prepared.selection.described(),
    )
