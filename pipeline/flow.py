"""The whole flow of a job, from shards to parts.

    shards ─ read ─▶ records ─ render ─▶ prompts ─ minus what the store holds ─▶ work
    all of them read ─ settle ids that stand for different content
    work ─ by paper, in the order that shares most ─▶ batches
    batches ─ replicas: generate ⇄ check ⇄ repair ─▶ answers/ and rejects/ ─▶ receipts

Every record that was read reaches a replica, once. Current and rejected ones ride along, so that
one pass gives the exact accounting.
"""

from collections.abc import Callable, Iterator
from functools import partial

from pipeline.answering.prepare import Prepared
from pipeline.answering.replica import BatchWorker
from pipeline.cluster.executor import Executor, Stage, Stream
from pipeline.cluster.limit import Limit
from pipeline.cluster.reporter import Reporter
from pipeline.core.accounting import Totals
from pipeline.engines import max_concurrent_batches
from pipeline.prompting.batching import to_batches
from pipeline.prompting.own_ids import Settler
from pipeline.prompting.render import to_prompts
from pipeline.reading.source import read_tasks
from pipeline.store.ledger import Ledger
from pipeline.store.parts import PartWriter
from pipeline.store.sink import Sink

PARTITION_BYTES, MOST_PARTITIONS = 64 * 2**20, 512
"""Input whose papers are brought together in one block, which one task arranges in its memory."""

PARTITION_ROWS = 16_000
"""About as much, if the input says that a paper's records stand together."""


def answer(prepared: Prepared, executor: Executor, run_id: str) -> Iterator[Totals]:
    """Runs the flow; yields the totals of each batch once all its answers are stored."""
    job, source, reporter = prepared.job, prepared.source, executor.reporter
    ledger = Ledger.of(prepared.store, prepared.selection, job.input.bucket)
    partitions = partitions_of(prepared)
    concurrent = max_concurrent_batches(job)
    arrange = partial(
        to_batches,
        job=job,
        source=source,
        in_flight=_rivals(job.engine.replicas.max) * (concurrent + 1) / partitions,
        reporter=reporter,
    )
    writer = PartWriter(run_id, job.input.bucket, job.output.append_only)
    sink = Sink(job.output.uri, prepared.storage, writer, job.rows_per_file)
    waits = partitions == 1 or (job.engine.generates and not job.input.grouped)
    rows = PARTITION_ROWS if job.engine.generates else job.rows_per_file
    gather = partial(_together, partitions) if waits else partial(_streaming, rows)
    prompts = read_prompts(prepared, executor, executor.share(ledger), gather, waits=waits)
    batches = prompts.map(arrange).in_blocks(1)
    replica = (job, source, sink, reporter)
    return batches.through_replicas(BatchWorker, replica, job.engine, concurrent).receipts()


def _rivals(replicas: int) -> int:
    """Replicas that are to finish together; none if there is but one."""
    return replicas if replicas > 1 else 0


def partitions_of(prepared: Prepared) -> int:
    return min(1 + prepared.bucket_bytes // PARTITION_BYTES, MOST_PARTITIONS)


def read_prompts(
    prepared: Prepared,
    executor: Executor,
    ledger: Callable[[], Ledger],
    gather: Callable[[Stream], Stream],
    *stages: Stage,
    waits: bool = True,
) -> Stream:
    """Every record read, as a prompt or a reject, with its id and its standing against the store.

    Further stages take each table of prompts as soon as it is made. Ids are settled behind
    `gather`, which `waits` for the last record, or hands tables on as they come.
    """
    job, limit, reporter = prepared.job, prepared.selection.limit, executor.reporter
    left = executor.limit(limit) if limit else None
    enough = partial(_enough, left, reporter)
    shards, storage, selection = prepared.listing.shards, prepared.storage, prepared.selection
    index = executor.identities
    render = partial(
        to_prompts,
        job=job,
        source=prepared.source,
        ledger=ledger,
        index=index,
        limit=left,
        reporter=reporter,
    )
    tasks = read_tasks(shards, job.input, storage, selection, enough, index.add)
    prompts = executor.read(tasks, render, *stages)
    return gather(prompts).map(Settler(ledger, index, left, reporter, waits))


def _enough(limit: Limit | None, reporter: Reporter) -> bool:
    return reporter.is_ending() or (limit is not None and limit.is_spent())


def _together(partitions: int, prompts: Stream) -> Stream:
    """All prompts, a paper's in one table."""
    return prompts.together("paper", partitions)


def _streaming(rows: int, prompts: Stream) -> Stream:
    """Prompts as they come: nothing else has to wait for the last record."""
    return prompts.in_blocks(rows)
