"""A stratified sample of answers, the same for the same seed, whatever the order of the rows.

A stratum is named by reason to read, model, verdict and question, or by the first of these if all
together make more strata than answers are wanted. Each stratum gives equally many answers, or all
that it has, and in each every answer is as likely to be drawn.
"""

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.results import reading_order
from pipeline.results.pages.overview import question_names
from pipeline.results.reading_order import REASONS, Hashes, rank
from pipeline.store.reader import BY_GENERATION, key_digest

COLUMNS = tuple(
    dict.fromkeys(
        (
            *reading_order.COLUMNS,
            "generation_key",
            "model",
            "adapter",
            "stance",
            "question_id",
            "question",
        )
    )
)
"""Columns of answers, and fields of nested ones, that a sample depends on."""

Stratum: TypeAlias = tuple[str, ...]
"""Values of the first levels: reason, model, verdict, question."""

LEVELS = 4
NO_REASON = "no reason"
URGENCY = {reason: number for number, reason in enumerate((*REASONS, NO_REASON))}


class Drawn(NamedTuple):
    """An answer of a sample; `weight` is how many answers of its stratum it stands for."""

    record_id: str
    generation_key: str
    stratum: Stratum
    weight: float


@dataclass(slots=True)
class Strata:
    """How many answers each stratum has, level by level, as long as there are at most `most`."""

    most: int
    levels: list[Counter[Stratum]] = field(
        default_factory=lambda: [Counter() for _ in range(LEVELS + 1)]
    )

    def add(self, strata: Iterable[Stratum]) -> None:
        for stratum in strata:
            for level, counts in enumerate(self.levels):
                counts[stratum[:level]] += 1
        while len(self.levels) > 1 and len(self.levels[-1]) > self.most:
            self.levels.pop()

    @property
    def sizes(self) -> Mapping[Stratum, int]:
        """Those of the finest level, the most urgent reasons first."""
        counts = self.levels[-1]
        return {s: counts[s] for s in sorted(counts, key=_by_urgency)}


def _by_urgency(stratum: Stratum) -> tuple[int, Stratum]:
    return (URGENCY[stratum[0]] if stratum else 0), stratum


def shared_out(sizes: Mapping[Stratum, int], wanted: int) -> dict[Stratum, int]:
    """How many answers each stratum gives: equally many, or all that it has.

    The first strata give one more where the number does not divide.
    """
    given = dict.fromkeys(sizes, 0)
    while wanted and (unfinished := [s for s in sizes if given[s] < sizes[s]]):
        each = max(wanted // len(unfinished), 1)
        for stratum in unfinished:
            more = min(each, sizes[stratum] - given[stratum], wanted)
            given[stratum] += more
            wanted -= more
    return given


@dataclass(slots=True)
class Reservoirs:
    """Of each stratum the answers whose hash under the seed is least: a fair draw, as the hash
    knows nothing of the answer. Holds as many answers as are wanted, and no more.
    """

    wanted: Mapping[Stratum, int]
    seed: int
    kept: dict[Stratum, list[tuple[int, str, str]]] = field(default_factory=dict)

    def add(self, rows: pa.Table, strata: Iterable[Stratum]) -> None:
        level = len(next(iter(self.wanted), ()))
        keys = (rows[name].to_pylist() for name in BY_GENERATION)
        for record_id, key, stratum in zip(*keys, strata, strict=True):
            kept = self.kept.setdefault(stratum[:level], [])
            item = (-self._hash(record_id, key), record_id, key)
            if len(kept) < self.wanted.get(stratum[:level], 0):
                heapq.heappush(kept, item)
            elif kept and item > kept[0]:
                heapq.heapreplace(kept, item)

    def _hash(self, *key: str) -> int:
        return int.from_bytes(
            key_digest(str(self.seed).encode(), *(k.encode() for k in key)), "big"
        )

    def drawn(self, sizes: Mapping[Stratum, int]) -> Iterator[Drawn]:
        for stratum in self.wanted:
            kept = sorted(self.kept.get(stratum, ()), reverse=True)
            for _, record_id, key in kept:
                yield Drawn(record_id, key, stratum, sizes[stratum] / len(kept))


def strata_of(rows: pa.Table, differing: Hashes) -> list[Stratum]:
    """The stratum of each row with `COLUMNS`, at all levels."""
    reasons = (reason or NO_REASON for reason in rank(rows, differing).first_reasons())
    models = pc.coalesce(rows["adapter"], rows["model"], "").to_pylist()
    verdicts = pc.coalesce(rows["answers_question"], rows["stance"], "").to_pylist()
    return list(zip(reasons, models, verdicts, question_names(rows).to_pylist(), strict=True))
