"""A sample of a job's input, read and rendered: what `doctor` sees of it."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.cluster.identities import Identities
from pipeline.config.schema import Job
from pipeline.core.arrow import split_work, table_records
from pipeline.core.filesystem import Storage
from pipeline.core.identity import identities_in
from pipeline.core.records import Fault
from pipeline.prompting.fit import fitting
from pipeline.prompting.own_ids import Settler
from pipeline.prompting.render import to_prompts
from pipeline.prompting.template import PromptSource
from pipeline.reading.shards import Shard
from pipeline.reading.source import read_tables
from pipeline.store.ledger import Ledger

SAMPLED_SHARDS, SAMPLED_BYTES, SHARD_BYTES = 200, 64 * 2**20, 8 * 2**20
"""Shards that are read, and bytes of them; of a large one little more than `SHARD_BYTES`."""

RENDERED = 200
"""Records of a table that are rendered; the ids of all are compared."""

NAMED = 100
"""Records of shared ids that are looked up in the store, for a few examples."""


@dataclass(slots=True)
class Sample:
    """How many records of a sample make a prompt, and why the others do not."""

    prompts: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    details: Counter[tuple[str, str]] = field(default_factory=Counter)  # with their reasons

    def add(self, reason: str, detail: str) -> None:
        self.reasons[reason] += 1
        self.details[reason, detail] += 1

    @property
    def records(self) -> int:
        return self.prompts + self.reasons.total()

    @property
    def rejected_share(self) -> float:
        return self.reasons.total() / self.records if self.records else 0.0

    def described(self) -> list[str]:
        """The most frequent faults, each with the detail that it has most often."""
        details = {reason: said for (reason, said), _ in reversed(self.details.most_common())}
        return [f"{n:,} {name} ({details[name]})" for name, n in self.reasons.most_common(3)]


def take_sample(
    job: Job, shards: Sequence[Shard], source: PromptSource, ledger: Ledger
) -> tuple[Sample, dict[str, Any]]:
    """A sample, and what `run.json` would say of its ids."""
    sample, index, fit = Sample(), Identities(), fitting(job)
    tables = list(_tables(job, shards, index))
    for table in tables:
        records, rest = split_work(table)
        faults = rest.filter(pc.equal(rest["standing"], "rejected"))
        for rejected in faults.select(["reason", "detail"]).to_pylist():
            sample.add(**rejected)
        for record in table_records(records.slice(0, RENDERED)):
            try:
                fit(record, source)
                sample.prompts += 1
            except Fault as fault:
                sample.add(fault.reason, fault.detail)
    met_twice = pa.concat_tables(map(partial(_met_twice, index=index), tables)).slice(0, NAMED)
    prompts = to_prompts(met_twice, job, source, lambda: ledger, index)
    Settler(lambda: ledger, index)(prompts)
    return sample, index.summary()


def _tables(job: Job, shards: Sequence[Shard], index: Identities) -> Iterator[pa.Table]:
    """The beginnings of some shards, evenly spread; of a small input everything."""
    storage = Storage(job.storage)
    size = sum(min(shard.size, SHARD_BYTES) for shard in shards)
    step = max(-(-len(shards) // SAMPLED_SHARDS), -(-size // SAMPLED_BYTES), 1)
    for number in range(0, len(shards), step):
        shard = shards[number]
        tables = read_tables([shard], job.input, storage, met=index.add, first=number)
        yield from islice(tables, None if shard.size <= SHARD_BYTES else 1)


def _met_twice(items: pa.Table, index: Identities) -> pa.Table:
    """The records whose ids others have too."""
    return items.filter(pa.array(index.has_met_twice(identities_in(items["identity"]))))
