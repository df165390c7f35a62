"""The whole flow of a job, from shards to parts.

    shards ─ read ─▶ records ─ render ─▶ prompts ─ minus what the store holds ─▶ work
    work ─ engine actors: generate, extract, check ─▶ outcomes ─ sink ─▶ answers/ and rejects/

Every record read reaches the sink, once; what is current or rejected rides along, so that one pass
gives the exact accounting.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import cast

import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy, Dataset
from ray.exceptions import GetTimeoutError

from pipeline.checks import chosen_checks
from pipeline.cluster import cause_of
from pipeline.config import Job
from pipeline.engines import check_engine, tables_at_once
from pipeline.errors import ConfigError, EngineError
from pipeline.prompting.template import PromptSource, load_prompt
from pipeline.reading.shards import Listing, list_shards
from pipeline.reading.source import ShardSource
from pipeline.replicas import Replicas
from pipeline.stages import Answerer, measure, settle, to_prompts
from pipeline.storage import Location, Storage
from pipeline.store.ledger import Ledger
from pipeline.store.sink import Sink
from pipeline.totals import Totals

REPLICA_MEMORY_BYTES = 2**30
"""What a replica's own process takes; asking for it also keeps Ray Data from fusing reading and
rendering into the engine's actor, where they would make it wait."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A job whose every part was looked at, before anything is started or changed."""

    job: Job
    source: PromptSource
    storage: Storage
    listing: Listing
    store: Location

    @property
    def input_bytes(self) -> int:
        return sum(shard.size for shard in self.listing.shards)


def prepare(job: Job) -> Prepared:
    """Raises `ConfigError` for whatever in the job, its template or its input cannot work."""
    check_engine(job)
    chosen_checks(job.checks)
    source = load_prompt(job.prompt.template, job.answer.max_words)
    storage = Storage(job.storage)
    store = storage.at(job.output.uri)
    listing = list_shards(job.input.uri, storage)
    read = [storage.at(job.input.uri).uri + "/", *(shard.uri for shard in listing.shards)]
    if f"{store.uri}/".startswith(read[0]) or any(u.startswith(f"{store.uri}/") for u in read):
        raise ConfigError(
            f"output.uri: {job.output.uri} is inside the input; the job would read its answers"
        )
    return Prepared(job, source, storage, listing, store)


def answer(prepared: Prepared, run_id: str, replicas: Replicas) -> Iterator[Totals]:
    """Runs the flow; yields the totals of each table of outcomes once its parts are stored.

    No table that an engine works on holds more rows than a part may: a crash loses a few of them.
    """
    job = prepared.job
    sink = Sink(job.output.uri, prepared.storage, run_id, job.rows_per_file)
    receipts = (
        prompts(prepared)
        .repartition(target_num_rows_per_block=job.rows_per_file)
        .map_batches(
            Answerer,
            fn_constructor_args=(job, prepared.source, replicas.report),
            batch_format="pyarrow",
            batch_size=job.rows_per_file,
            compute=ActorPoolStrategy(
                size=job.engine.replicas,
                max_concurrent_calls_per_actor=tables_at_once(job),
            ),
            num_cpus=1,
            num_gpus=job.engine.gpus,
            memory=REPLICA_MEMORY_BYTES,
            accelerator_type=job.engine.accelerator_type,
        )
        .map_batches(sink.write, batch_format="pyarrow", batch_size=None)
    )
    try:
        yield from _totals(receipts)
    except GetTimeoutError as error:
        raise EngineError(replicas.why_not_all(job.engine)) from error


def survey(prepared: Prepared) -> Iterator[Totals]:
    """The flow as far as the prompts: what a run would do, and with about how many tokens."""
    return _totals(prompts(prepared).map_batches(measure, batch_format="pyarrow", batch_size=None))


def prompts(prepared: Prepared) -> Dataset:
    """Every record read, as prompt or reject, with its standing against the store."""
    ledger = ray.put(Ledger.of(prepared.store))
    job = prepared.job
    shards = ShardSource(prepared.listing.shards, job.input, prepared.storage)
    # Told how many tasks there are, Ray Data does not cut their blocks up to make two hundred.
    records: Dataset = ray.data.read_datasource(shards, override_num_blocks=shards.tasks)
    return records.map_batches(
        partial(_to_prompts, job=job, source=prepared.source, ledger=ledger),
        batch_format="pyarrow",
        batch_size=None,
    )


def _to_prompts(
    items: pa.Table, job: Job, source: PromptSource, ledger: "ray.ObjectRef[Ledger]"
) -> pa.Table:
    settle()
    return to_prompts(items, job, source, ray.get(ledger))  # a node holds one copy for all tasks


def _totals(receipts: Dataset) -> Iterator[Totals]:
    """The receipts of a flow as they come; what fails in it is raised as an error of ours."""
    try:
        for batch in receipts.iter_batches(
            batch_size=None, batch_format="pyarrow", prefetch_batches=0
        ):
            for receipt in cast(pa.Table, batch)["receipt"].to_pylist():
                yield Totals.of_receipt(receipt)
    except GetTimeoutError:
        raise
    except Exception as error:  # Ray Data raises more than Ray's own errors
        raise cause_of(error) from error
