"""The whole flow of a job, from shards to parts.

    shards ─ read ─▶ records ─ render ─▶ prompts ─ minus what the store holds ─▶ work
    work ─ by paper, in the order that shares most ─▶ tables
    tables ─ engine actors: generate ⇄ check ⇄ repair ─▶ outcomes ─ sink ─▶ answers/ and rejects/

Every record read reaches the sink, once; what is current or rejected rides along, so that one pass
gives the exact accounting.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
import ray
from ray.data import ActorPoolStrategy, Dataset
from ray.exceptions import GetTimeoutError

from pipeline.answering.checks import chosen_checks
from pipeline.answering.replica import Answerer, foretold, to_batches, to_prompts, within
from pipeline.cluster.counters import Extent, StageCounts
from pipeline.cluster.limit import Allowance
from pipeline.cluster.reporter import Replicas
from pipeline.cluster.session import placement, receipts_of
from pipeline.config.schema import Job
from pipeline.config.selection import EVERYTHING, Selection
from pipeline.core.accounting import Totals
from pipeline.core.errors import ConfigError, EngineError
from pipeline.core.filesystem import Location, Storage
from pipeline.core.processes import settle
from pipeline.engines import check_engine, max_concurrent_batches
from pipeline.prompting.template import PromptSource, load_prompt
from pipeline.reading.shards import Listing, list_shards
from pipeline.reading.source import ShardSource, never
from pipeline.run.plan import WorkPlan, plan_table
from pipeline.store.history import History
from pipeline.store.ledger import Ledger
from pipeline.store.parts import PartWriter
from pipeline.store.sink import Sink

REPLICA_MEMORY_BYTES = 2**30
"""What a replica's own process takes; asking for it also keeps Ray Data from fusing reading and
rendering into the engine's actor, where they would make it wait."""

PARTITION_BYTES, MOST_PARTITIONS = 64 * 2**20, 512
"""Input whose papers are brought together in one block, which one task arranges in its memory."""

SAMPLE_BYTES = 4 * 2**20
"""Input whose prompts a plan looks at whole: some thousand."""

PARTITION_ROWS = 16_000
"""About as much, where the input says that a paper's records stand together."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A job whose every part was looked at, before anything is started or changed."""

    job: Job
    source: PromptSource
    storage: Storage
    listing: Listing
    store: Location
    selection: Selection = EVERYTHING

    @property
    def input_bytes(self) -> int:
        return sum(shard.size for shard in self.listing.shards)

    @property
    def bytes_at_work(self) -> int:
        """About what the bucket's share of the input has."""
        return self.input_bytes // self.job.input.bucket.of

    @property
    def extent(self) -> Extent:
        return Extent(self.input_bytes, self.selection.limit)


def prepare(job: Job, selection: Selection = EVERYTHING) -> Prepared:
    """Raises `ConfigError` for whatever in the job, its template or its input cannot work."""
    check_engine(job)
    chosen_checks(job.checks)
    source = load_prompt(job.prompt.template, job.answer.max_words)
    if source.is_verbatim and job.prompt.passages != "as_given":
        raise ConfigError(
            f"prompt.passages: {job.prompt.passages} needs a template; verbatim prompts stay as "
            "they are"
        )
    storage = Storage(job.storage)
    store = storage.at(job.output.uri)
    listing = list_shards(job.input.uri, storage)
    read = [storage.at(job.input.uri).uri + "/", *(shard.uri for shard in listing.shards)]
    if f"{store.uri}/".startswith(read[0]) or any(u.startswith(f"{store.uri}/") for u in read):
        raise ConfigError(
            f"output.uri: {job.output.uri} is inside the input; the job would read its answers"
        )
    return Prepared(job, source, storage, listing, store, selection)


def answer(prepared: Prepared, run_id: str, replicas: Replicas) -> Iterator[Totals]:
    """Runs the flow; yields the totals of each table of outcomes once its parts are stored.

    No table that an engine works on holds more rows than a part may: a crash loses a few of them.
    """
    job = prepared.job
    writer = PartWriter(run_id, job.input.bucket, job.output.append_only)
    sink = Sink(job.output.uri, prepared.storage, writer, job.rows_per_file)
    ledger = ray.put(Ledger.of(prepared.store, prepared.selection, job.input.bucket))
    work = prompts(prepared, ledger, replicas.passed, replicas.is_ending)
    with placement(job.engine, REPLICA_MEMORY_BYTES) as places:
        receipts = (
            tables(work, prepared, replicas.passed)
            .map_batches(
                Answerer,
                fn_constructor_args=(
                    job,
                    prepared.source,
                    replicas.report,
                    replicas.at_work,
                    replicas.seconds_left,
                ),
                batch_format="pyarrow",
                batch_size=1,
                compute=ActorPoolStrategy(
                    min_size=job.engine.replicas.min,
                    max_size=job.engine.replicas.max,
                    max_concurrent_calls_per_actor=max_concurrent_batches(job),
                    max_tasks_in_flight_per_actor=max_concurrent_batches(job) + 1,
                ),
                num_cpus=1,
                num_gpus=job.engine.gpus,
                memory=REPLICA_MEMORY_BYTES,
                accelerator_type=job.engine.accelerator_type,
                **places,
            )
            .map_batches(
                partial(_store, job=job, sink=sink), batch_format="pyarrow", batch_size=None
            )
        )
        try:
            yield from map(Totals.of_receipt, receipts_of(receipts))
        except GetTimeoutError as error:
            raise EngineError(replicas.why_not_all(job.engine)) from error


def _store(outcomes: pa.Table, job: Job, sink: Sink) -> pa.Table:
    settle()
    return sink.write(foretold(outcomes, job))


Pass: TypeAlias = Callable[[StageCounts], None]
"""What a task calls with what it hands on; does not wait."""


def unseen(more: StageCounts) -> None:
    """For a flow that nobody looks at before its end."""


def tables(prompts: Dataset, prepared: Prepared, passed: Pass) -> Dataset:
    """The prompts in tables for the engines, one a row and a block.

    Ray Data hands the next one to the replica with the fewest, so with the least work in flight.
    """
    job = prepared.job
    partitions = min(1 + prepared.bytes_at_work // PARTITION_BYTES, MOST_PARTITIONS)
    if not job.engine.generates:
        prompts = prompts.repartition(target_num_rows_per_block=job.rows_per_file)
    elif job.input.grouped:
        prompts = prompts.repartition(target_num_rows_per_block=PARTITION_ROWS)
    else:
        prompts = prompts.repartition(partitions, keys=["paper"])
    making = partial(
        to_batches,
        job=job,
        source=prepared.source,
        in_flight=job.engine.replicas.max * (max_concurrent_batches(job) + 1) / partitions,
        sampled=_sampled_share(prepared),
    )
    made = prompts.map_batches(
        partial(_to_batches, making=making, passed=passed), batch_format="pyarrow", batch_size=None
    )
    return made.repartition(target_num_rows_per_block=1)


def _to_batches(
    prompts: pa.Table, making: Callable[[pa.Table], pa.Table], passed: Pass
) -> pa.Table:
    settle()
    made = making(prompts)
    at_work = pc.sum(pc.equal(prompts["standing"], "work")).as_py() or 0
    passed(StageCounts(arranged=at_work))
    return made


def survey(prepared: Prepared, examples: int) -> Iterator[WorkPlan]:
    """The flow as far as the prompts: what a run would do, and with about how many tokens.

    Yields what each table of prompts adds, with at most so many examples each.
    """
    bucket = prepared.job.input.bucket
    ledger = ray.put(Ledger.of(prepared.store, prepared.selection, bucket))
    foreseeing = partial(
        _foresee,
        job=prepared.job,
        source=prepared.source,
        ledger=ledger,
        history=ray.put(History.of(prepared.store, bucket)),
        examples=examples,
        sampled=_sampled_share(prepared),
    )
    receipts = prompts(prepared, ledger).map_batches(
        foreseeing, batch_format="pyarrow", batch_size=None
    )
    yield from map(WorkPlan.of_receipt, receipts_of(receipts))


def _foresee(
    made: pa.Table,
    job: Job,
    source: PromptSource,
    ledger: "ray.ObjectRef[Ledger]",
    history: "ray.ObjectRef[History]",
    examples: int,
    sampled: float,
) -> pa.Table:
    known, past = ray.get(ledger), ray.get(history)
    return plan_table(made, job, source, known, past, examples, sampled).receipt()


def _sampled_share(prepared: Prepared) -> float:
    """Of the papers, those whose prompts are looked at whole: only vLLM says what it caches."""
    if prepared.job.engine.kind != "vllm":
        return 0.0
    return min(SAMPLE_BYTES / max(prepared.bytes_at_work, 1), 1.0)


def prompts(
    prepared: Prepared,
    ledger: "ray.ObjectRef[Ledger]",
    passed: Pass = unseen,
    is_ending: Callable[[], bool] = never,
) -> Dataset:
    """Every record read, as prompt or reject, with its standing against the store."""
    job, selection = prepared.job, prepared.selection
    allowance = Allowance(selection.limit) if selection.limit else None
    enough = partial(_enough, allowance, is_ending)
    shards = ShardSource(prepared.listing.shards, job.input, prepared.storage, selection, enough)
    # Told how many tasks there are, Ray Data does not cut their blocks up to make two hundred.
    records: Dataset = ray.data.read_datasource(shards, override_num_blocks=shards.tasks)
    return records.map_batches(
        partial(
            _to_prompts,
            job=job,
            source=prepared.source,
            ledger=ledger,
            allowance=allowance,
            passed=passed,
        ),
        batch_format="pyarrow",
        batch_size=None,
    )


def _enough(allowance: Allowance | None, is_ending: Callable[[], bool]) -> bool:
    settle()
    return is_ending() or (allowance is not None and allowance.is_spent())


def _to_prompts(
    items: pa.Table,
    job: Job,
    source: PromptSource,
    ledger: "ray.ObjectRef[Ledger]",
    allowance: Allowance | None,
    passed: Pass,
) -> pa.Table:
    settle()
    held = ray.get(ledger)  # a node holds one copy for all tasks
    made = to_prompts(items, job, source, held)
    made = within(made, allowance.take) if allowance else made
    passed(StageCounts.of(Totals.of(made)))
    return made
