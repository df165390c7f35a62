"""The whole flow of a job, from shards to parts.

    shards ─ read ─▶ records ─ render ─▶ prompts ─ minus what the store holds ─▶ work
    shards as they were, whose answers the store holds ─▶ current rows, by their keys alone
    all of them read ─ settle ids that stand for different content
    work ─ by paper, in the order that shares most, what has priority first ─▶ batches
    batches ─ replicas: generate ⇄ check ⇄ repair ─▶ answers/ and rejects/ ─▶ receipts
    current rows that lack columns of `output.carry` ─ filled in, part by part ─▶ answers/
    current rows that lack a judgement ─ part by part ─ replicas: judge ─▶ answers/

Every record that was read reaches a replica, once. Current and rejected ones ride along, so that
one pass gives the exact accounting.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import pyarrow as pa

from pipeline.answering.judge_worker import JudgeWorker
from pipeline.answering.prepare import Prepared
from pipeline.answering.replica import BatchWorker
from pipeline.cluster.counters import StageCounts
from pipeline.cluster.executor import Executor, Stage, Stream
from pipeline.cluster.limit import Limit
from pipeline.cluster.reporter import Reporter
from pipeline.core.accounting import Totals
from pipeline.core.arrow import RANKED, receipt
from pipeline.core.filesystem import Location
from pipeline.core.records import ItemBlock
from pipeline.engines import max_concurrent_batches, model_of
from pipeline.prompting.batching import to_batches
from pipeline.prompting.known_shards import KnownShards
from pipeline.prompting.own_ids import Settler
from pipeline.prompting.priority import Priority
from pipeline.prompting.render import to_prompts
from pipeline.reading.source import read_blocks, read_tasks
from pipeline.reading.whole_shards import read_unless_known
from pipeline.store.filling import Filling
from pipeline.store.judging import CurrentAnswers, ToJudge
from pipeline.store.ledger import Ledger
from pipeline.store.lengths import Lengths
from pipeline.store.parts import PartWriter
from pipeline.store.reader import PartRows
from pipeline.store.schema import ANSWERS_FOLDER
from pipeline.store.sink import Sink

PARTITION_BYTES, MOST_PARTITIONS = 64 * 2**20, 512
"""Input whose papers are brought together in one block, which one task arranges in its memory."""

PARTITION_ROWS = 16_000
"""About as much, if the input says that a paper's records stand together."""


def outcomes(prepared: Prepared, executor: Executor, run_id: str) -> Iterator[Totals]:
    """Runs the flow of a job; yields totals as soon as what they count is stored."""
    job = prepared.job
    writer = PartWriter(run_id, job.input.bucket, job.output.append_only)
    sink = Sink(job.output.uri, prepared.storage, writer, job.rows_per_file)
    flow = answer if job.input.store is None else judge_stored
    return flow(prepared, executor, sink)


def answer(prepared: Prepared, executor: Executor, sink: Sink) -> Iterator[Totals]:
    """Answers what the store does not hold; yields the totals of each batch once all its answers
    are stored, then of each part whose carried columns were filled in, and of each batch of stored
    answers that was judged.
    """
    job, source, reporter = prepared.job, prepared.source, executor.reporter
    ledger = ledger_of(prepared)
    partitions = partitions_of(prepared)
    concurrent = max_concurrent_batches(job)
    arrange = partial(
        to_batches,
        job=job,
        source=source,
        in_flight=_rivals(job.engine.replicas.max) * (concurrent + 1) / partitions,
        reporter=reporter,
        lengths=executor.share(lengths_of(prepared, ledger)),
        priority=executor.share(Priority.of(job.input, prepared.store)),
    )
    in_order = job.input.priority is not None
    waits = partitions == 1 or in_order or (job.engine.generates and not job.input.grouped)
    gather: Callable[[Stream], Stream] = _in_parts if job.engine.generates else _as_read
    if waits:
        gather = partial(_together, partitions)
    prompts = read_prompts(
        prepared,
        executor,
        executor.share(ledger),
        gather,
        waits=waits,
        keeps_passages=prepared.reads_passages,
        keeps_keys=True,
    )
    batches = prompts.map(arrange)
    if in_order and partitions > 1:  # a single one is in order already
        batches = batches.in_order(RANKED)
    batches = batches.in_blocks(1)
    replica = (job, source, prepared.evaluator, sink, reporter, prepared.judge)
    outdated: list[pa.Table] = []
    current: list[CurrentAnswers] = []
    stored = batches.through_replicas(BatchWorker, replica, job.engine, concurrent)
    for made in stored.receipts():
        match made:
            case Totals():
                yield made
            case CurrentAnswers():
                current.append(made)
            case _:
                outdated.append(made)
    if outdated and not reporter.is_ending():
        yield from _filled_in(outdated, prepared.store, sink, executor)
    if prepared.judge and not reporter.is_ending():
        yield from _judged(ToJudge.of(current, ledger.unjudged), prepared, executor, sink)


def judge_stored(prepared: Prepared, executor: Executor, sink: Sink) -> Iterator[Totals]:
    """Judges the counting answers of a store; yields their number, then totals of each batch."""
    ledger, limit = ledger_of(prepared), prepared.selection.limit
    totals = stored_totals(ledger)
    executor.reporter.counted(StageCounts.of(totals))
    yield totals
    yield from _judged(ToJudge(ledger.unjudged[:limit]), prepared, executor, sink)


def stored_totals(ledger: Ledger) -> Totals:
    """The answers of a store as records that a run has read."""
    standings = {"current": len(ledger.answered), "current_failed": len(ledger.failed)}
    return Totals(Counter(standings), sums=Counter(read=sum(standings.values())))


def ledger_of(prepared: Prepared) -> Ledger:
    """What the store holds of a job's answers."""
    job, judge = prepared.job, prepared.judge
    unjudged = judge.unjudged if judge else None
    carry = job.output.carry
    return Ledger.of(prepared.store, prepared.selection, job.input.bucket, carry, unjudged)


def lengths_of(prepared: Prepared, ledger: Ledger) -> Lengths | None:
    """How long the model's answers were in earlier runs, if there are any."""
    job = prepared.job
    if not job.engine.generates or not (len(ledger.answered) or len(ledger.failed)):
        return None
    return Lengths.of(prepared.store, model_of(job)[0], job.input.bucket)


def _judged(
    to_judge: ToJudge, prepared: Prepared, executor: Executor, sink: Sink
) -> Iterator[Totals]:
    """Stored answers with verdicts, a batch at a time; the model is loaded if there are any."""
    job, parts = prepared.job, to_judge.parts(prepared.store)
    if not parts:
        return
    sizes, shared = prepared.store.join(ANSWERS_FOLDER).files(), executor.share(to_judge)
    tasks = [(partial(_to_judge, part, shared, sink), sizes.get(part.path, 0)) for part in parts]
    worker = (job, prepared.source, prepared.evaluator, sink, prepared.judge, executor.reporter)
    rows, concurrent = executor.read(tasks).in_blocks(1), max_concurrent_batches(job)
    yield from rows.through_replicas(JudgeWorker, worker, job.engine, concurrent).receipts()


def _to_judge(part: PartRows, to_judge: Callable[[], ToJudge], sink: Sink) -> Iterator[pa.Table]:
    """Read task: batches of a part's rows that are to be judged."""
    yield from to_judge().batches(part, sink)


def _filled_in(
    outdated: Sequence[pa.Table], store: Location, sink: Sink, executor: Executor
) -> Iterator[Totals]:
    filling = Filling.of(outdated)
    parts, sizes = filling.parts(store), store.join(ANSWERS_FOLDER).files()
    fill = partial(_fill_in, filling=executor.share(filling), sink=sink)
    tasks = [(partial(fill, part), sizes.get(part.path, 0)) for part in parts]
    if tasks:
        yield from executor.read(tasks).receipts()


def _fill_in(part: PartRows, filling: Callable[[], Filling], sink: Sink) -> Iterator[pa.Table]:
    """Read task: fills in the columns of a part's rows; yields a receipt."""
    yield receipt(filling().fill_in(part, sink))


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
    keeps_passages: bool = True,
    keeps_keys: bool = False,
) -> Stream:
    """Every record read, as a prompt or a reject, with its id and its standing against the store.

    Further stages take each table of prompts as soon as it is made. Ids are settled behind
    `gather`, which `waits` for the last record, or hands tables on as they come. With `keeps_keys`,
    the keys of shards are stored for later runs.
    """
    job, limit, reporter = prepared.job, prepared.selection.limit, executor.reporter
    left = executor.limit(limit) if limit else None
    enough = partial(_enough, left, reporter)
    source, index = prepared.source, executor.identities
    known = KnownShards.of(job, source, prepared.store, ledger, index, reporter, keeps_keys)
    render = partial(
        to_prompts,
        job=job,
        source=source,
        ledger=ledger,
        index=index,
        limit=left,
        reporter=reporter,
        keeps_passages=keeps_passages,
        met=known.met,
    )
    tasks = read_tasks(prepared.listing.shards, _reader(prepared, known, enough, index.add))
    rendered = [(partial(_rendered, blocks, render), size) for blocks, size in tasks]
    return gather(executor.read(rendered, *stages)).map(
        Settler(ledger, index, left, reporter, waits)
    )


def _reader(
    prepared: Prepared,
    known: KnownShards,
    enough: Callable[[], bool],
    met: Callable[[bytes], object],
) -> Callable[..., Iterator[ItemBlock | pa.Table]]:
    """What reads a share of the shards, or finds that they are as they were."""
    spec, storage, selection = prepared.job.input, prepared.storage, prepared.selection
    read = partial(
        read_blocks, spec=spec, storage=storage, selection=selection, enough=enough, met=met
    )
    if not prepared.reads_all:
        return read
    current = known.current
    return partial(read_unless_known, read=read, storage=storage, known=current, enough=enough)


def _rendered(
    blocks: Callable[[], Iterator[ItemBlock | pa.Table]], render: Callable[[ItemBlock], pa.Table]
) -> Iterator[pa.Table]:
    """Read task: the prompts of a share of the input; records never become rows of a table."""
    for block in blocks():
        yield render(block) if isinstance(block, ItemBlock) else block


def _enough(limit: Limit | None, reporter: Reporter) -> bool:
    return reporter.is_ending() or (limit is not None and limit.is_spent())


def _together(partitions: int, prompts: Stream) -> Stream:
    """All prompts, a paper's in one table."""
    return prompts.together("paper", partitions)


def _in_parts(prompts: Stream) -> Stream:
    """Prompts as they come, in parts that are large enough to arrange."""
    return prompts.in_blocks(PARTITION_ROWS)


def _as_read(prompts: Stream) -> Stream:
    """Prompts as they come: what follows is done by the tasks that read, and moves no text."""
    return prompts
