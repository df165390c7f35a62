"""Shards that are as they were when an earlier run rendered them: their keys are known.

To read and render a record takes some hundred times as long as to look its key up. So a run keeps
the keys of a shard's records beside the answers, under a digest of all that they depend on: the
shard's bytes, the job, the template, this project's code. Where a later run or plan finds the same,
and the store holds the answers to all records of the shard, it makes the rows that reading and
rendering would have made. In any other case the shard is read as if nothing were known of it.

*Crash windows:* none that matter. A file of keys is written whole or not at all, and what is
missing is rendered again.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Self

import numpy as np
import pyarrow as pa

import pipeline
from pipeline.cluster.counters import StageCounts
from pipeline.cluster.identities import Identities
from pipeline.cluster.reporter import Reporter
from pipeline.config.schema import Job
from pipeline.core.accounting import Totals
from pipeline.core.arrow import PROMPTS, build, tally
from pipeline.core.carried import Carry, comparable
from pipeline.core.errors import StorageError
from pipeline.core.filesystem import Location
from pipeline.core.identity import ROWS_OF_A_SHARD, as_identities
from pipeline.core.records import ItemBlock, Prompt, WholeShard
from pipeline.engines import settings_of
from pipeline.prompting.carrying import carried_names, carried_tally
from pipeline.prompting.keys import canonical, digest
from pipeline.prompting.own_ids import with_papers
from pipeline.prompting.template import PromptSource
from pipeline.store.ledger import Ledger, answer_digest, carrying_digest, holds
from pipeline.store.reader import DIGEST_BYTES, Digests, as_digests
from pipeline.store.shard_keys import SHARD_KEYS, ShardKeys, keys_place

NO_PART_OF_KEYS = frozenset(
    {
        *("name", "checks", "judge", "attempts", "failure_budget", "reject_budget", "budget"),
        *("grace_seconds", "deadline", "output", "report", "notify", "storage"),
    }
)
"""Sections of a job that no key depends on, but for `output.carry`. If one that is not named here
changes, shards are unknown, which costs time alone."""

LIBRARIES = ("ftfy", "Jinja2", "orjson", "pyarrow")
"""What reads and renders records beside this project's own code."""


@dataclass(frozen=True, slots=True)
class KnownShards:
    """The keys that a store has of a job's shards; a run `keeps` those that it makes, too."""

    store: Location
    job: str
    made_by: str  # a digest of all that keys depend on beside a shard
    carry: Carry
    ledger: Callable[[], Ledger]
    index: Identities
    reporter: Reporter
    keeps: bool
    _made: dict[str, list[ShardKeys] | None] = field(default_factory=dict)  # None: not to be kept

    @classmethod
    def of(
        cls,
        job: Job,
        source: PromptSource,
        store: Location,
        ledger: Callable[[], Ledger],
        index: Identities,
        reporter: Reporter,
        keeps: bool,
    ) -> Self:
        keeps &= not job.output.append_only  # a file of keys takes the place of an earlier one
        made_by, carry = _made_by(job, source), job.output.carry
        return cls(store, job.name, made_by, carry, ledger, index, reporter, keeps)

    def current(self, shard: WholeShard) -> pa.Table | None:
        """The records of a shard as `PROMPTS`, if the store holds the answers to all of them."""
        known = ShardKeys.read(keys_place(self.store, self.job, shard.uri))
        if known is None or known.made_of != self._made_of(shard):
            return None
        self._made[shard.uri] = None  # as they are there already
        standings = self._standings(known.rows)
        if standings is None:
            return None
        said = np.frombuffer(b"".join(known.rows["identity"].to_pylist()), ">u8").reshape(-1, 2)
        ids, contents = said.T.astype(np.uint64)
        places = shard.number * ROWS_OF_A_SHARD + known.rows["source_row"].to_numpy()
        rows = np.stack([ids, contents, places.astype(np.uint64)])
        identities = as_identities(rows)
        self.index.add(b"".join(identities.to_pylist()))
        if np.isin(ids, self.ledger().own.ids).any() or not self.index.claim(ids, contents).all():
            return None
        table = self._table(shard, known, standings, identities)
        self.reporter.counted(StageCounts.of(Totals.of(table)))
        return table

    def _standings(self, rows: pa.Table) -> pa.Array | None:
        """What the answers of these rows are to the store; None unless it has them all."""
        ledger, answers = self.ledger(), _digests(rows, "answer")
        is_answered = holds(ledger.answered, answers)
        is_failed = holds(ledger.failed, answers) & ~holds(ledger.again, answers)
        is_kept = (is_answered | is_failed) & ~holds(ledger.superseded, answers)
        if self.carry:
            is_kept &= holds(ledger.carrying, _digests(rows, "carrying"))
        if not is_kept.all():
            return None
        return pa.array(np.where(is_answered, "current", "current_failed"), pa.string())

    def _table(
        self, shard: WholeShard, known: ShardKeys, standings: pa.Array, identities: pa.Array
    ) -> pa.Table:
        count, names = known.rows.num_rows, SHARD_KEYS.names[:6]
        columns = {
            **{name: known.rows[name] for name in names},
            "standing": standings,
            "source_uri": pa.repeat(shard.uri, count),
            "identity": identities,
        }
        counts = {"read": count, "stored_bytes": shard.size}
        tables = [build(PROMPTS, columns, count), tally(PROMPTS, counts)]
        if self.carry and self.carry != "all":
            tables.append(carried_tally(known.carried))
        return with_papers(pa.concat_tables(tables))

    def met(self, items: ItemBlock, prompts: Sequence[Prompt]) -> None:
        """Takes in what a block was rendered to; keeps the keys of a shard once all of it was.

        A shard with rejects or with lines of a batch file is read each time.
        """
        if items.shard is None or not self.keeps:
            return
        uri, made_of = items.shard.uri, self._made_of(items.shard)
        made = self._made.setdefault(uri, [])
        if len(prompts) < items.read or any(prompt.record.batch for prompt in prompts):
            self._made[uri] = None
        elif made is not None:
            made.append(self._keys(made_of, items.identities, prompts))
        if items.ends_shard and (made := self._made.pop(uri)):
            rows, carried = pa.concat_tables([keys.rows for keys in made]), Counter[str]()
            for keys in made:
                carried.update(keys.carried)
            with suppress(StorageError):  # whoever may not write here renders again
                ShardKeys(made_of, rows, carried).write(keys_place(self.store, self.job, uri))

    def _keys(
        self, made_of: str, identities: Sequence[bytes], prompts: Sequence[Prompt]
    ) -> ShardKeys:
        records = [prompt.record for prompt in prompts]
        ids, keys = [r.record_id for r in records], [p.generation_key for p in prompts]
        columns = {
            "record_id": ids,
            "paper_id": [record.paper_id for record in records],
            "question_id": [record.question_id for record in records],
            "source_row": [record.place.row for record in records],
            "prompt_key": [prompt.prompt_key for prompt in prompts],
            "generation_key": keys,
            "identity": [identity[:DIGEST_BYTES] for identity in identities],
            "answer": list(map(answer_digest, ids, keys)),
        }
        if self.carry:
            carrying = (comparable(record.extra, self.carry) for record in records)
            columns["carrying"] = list(map(carrying_digest, ids, keys, carrying))
        rows = build(SHARD_KEYS, columns, len(prompts))
        return ShardKeys(made_of, rows, carried_names(prompts, self.carry))

    def _made_of(self, shard: WholeShard) -> str:
        return digest(f"{self.made_by} {shard.digest}".encode())


def _digests(rows: pa.Table, name: str) -> Digests:
    return as_digests(rows[name].to_pylist())


def _made_by(job: Job, source: PromptSource) -> str:
    """A digest of all that the keys of a job depend on beside its shards."""
    said = {
        "job": job.model_dump(mode="json", exclude=set(NO_PART_OF_KEYS)),
        "carry": job.output.carry,
        "settings": settings_of(job),
        "template": repr(source),
        "code": _code(),
        "libraries": [python_version(), *map(version, LIBRARIES)],
    }
    return digest(canonical(said))


@cache
def _code() -> str:
    """A digest of this project's code: a version changes less often than it does."""
    files = sorted(Path(pipeline.__file__).parent.rglob("*.py"))
    return digest(b"".join(file.read_bytes() for file in files))
