"""A sample of a job's input, read and rendered: what `doctor` sees of it."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import compress, islice
from typing import Any

from pipeline.cluster.identities import Identities
from pipeline.config.schema import Job
from pipeline.core.filesystem import Storage
from pipeline.core.identity import as_rows
from pipeline.core.records import Fault, ItemBlock
from pipeline.prompting.fit import fitting
from pipeline.prompting.own_ids import Settler
from pipeline.prompting.render import to_prompts
from pipeline.prompting.template import PromptSource
from pipeline.reading.shards import Shard
from pipeline.reading.source import read_blocks
from pipeline.store.ledger import Ledger

SAMPLED_SHARDS, SAMPLED_BYTES, SHARD_BYTES = 200, 64 * 2**20, 8 * 2**20
"""Shards that are read, and bytes of them; of a large one little more than `SHARD_BYTES`."""

RENDERED = 200
"""Records of a block that are rendered; the ids of all are compared."""

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
    blocks = list(_blocks(job, shards, index))
    for block in blocks:
        for rejected in block.rejects:
            sample.add(rejected.reason, rejected.detail)
        for record in block.records[:RENDERED]:
            try:
                fit(record, source)
                sample.prompts += 1
            except Fault as fault:
                sample.add(fault.reason, fault.detail)
    prompts = to_prompts(_met_twice(blocks, index), job, source, lambda: ledger, index)
    Settler(lambda: ledger, index)(prompts)
    return sample, index.summary()


def _blocks(job: Job, shards: Sequence[Shard], index: Identities) -> Iterator[ItemBlock]:
    """The beginnings of some shards, evenly spread; of a small input everything."""
    storage = Storage(job.storage)
    size = sum(min(shard.size, SHARD_BYTES) for shard in shards)
    step = max(-(-len(shards) // SAMPLED_SHARDS), -(-size // SAMPLED_BYTES), 1)
    for number in range(0, len(shards), step):
        shard = shards[number]
        blocks = read_blocks([shard], job.input, storage, met=index.add, first=number)
        yield from islice(blocks, None if shard.size <= SHARD_BYTES else 1)


def _met_twice(blocks: Sequence[ItemBlock], index: Identities) -> ItemBlock:
    """The first records whose ids others have too."""
    digests = [identity for block in blocks for identity in block.identities]
    records = [record for block in blocks for record in block.records]
    shared = index.has_met_twice(as_rows(b"".join(digests)))
    first = list(islice(compress(zip(records, digests, strict=True), shared), NAMED))
    return ItemBlock([record for record, _ in first], [digest for _, digest in first], (), 0)
