"""The answers that a page lists: those of a fair sample of papers, if all do not fit.

The sample has the papers whose hash is a multiple of `share`, which doubles whenever there are too
many answers. It depends only on the names of the papers.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.core.records import FinishReason, Stance, Status, Verdict
from pipeline.results.reading_order import REASONS_OF_SET, Reason
from pipeline.store.reader import key_digest

MAX_CELLS = 200_000

EXCERPT_CHARACTERS = 240
"""How much of an answer a row of the table shows: three lines."""


class CellKind(NamedTuple):
    """What many answers have in common; `this_run` if the run that the page is about wrote it."""

    status: Status
    stance: Stance
    missed_checks: tuple[str, ...]
    this_run: bool
    verdict: Verdict | None = None  # `answers_question`
    finish_reason: FinishReason | None = None
    model: str | None = None
    reasons: tuple[Reason, ...] = ()  # to read it


class Cell(NamedTuple):
    record_id: str
    question: str
    kind: CellKind
    words: int = 0
    p_answered: float | None = None
    excerpt: str = ""
    extra: str | None = None  # carried columns, as JSON


_OF_CELL = ("record_id", "column", "word_count", "p_answered", "excerpt", "extra")
_OF_KIND = (
    *("status", "stance", "missed_checks", "this_run"),
    *("answers_question", "finish_reason", "model", "reasons"),
)
COLUMNS = ("paper", *_OF_CELL, *_OF_KIND)


@dataclass(slots=True)
class PaperSample:
    """Rows of at most `max_cells` answers, or of a single paper that has more."""

    max_cells: int = MAX_CELLS
    share: int = 1  # it has one paper in this many
    _tables: list[pa.Table] = field(default_factory=list)

    @property
    def cells(self) -> int:
        return sum(table.num_rows for table in self._tables)

    def add(self, rows: pa.Table) -> None:
        """Adds those rows with `COLUMNS` whose paper is in the sample."""
        rows = rows.select(COLUMNS)
        self._tables.append(
            _in_share(rows.append_column("hash", _hashes(rows["paper"])), self.share)
        )
        while self.cells > self.max_cells and self._has_several_papers():
            self.share *= 2
            self._tables = [_in_share(table, self.share) for table in self._tables]

    def papers(self) -> dict[str, list[Cell]]:
        """The cells by paper, in the order in which papers came."""
        papers: dict[str, list[Cell]] = {}
        for rows in self._tables:
            for paper, cell in zip(rows["paper"].to_pylist(), _cells(rows), strict=True):
                papers.setdefault(paper, []).append(cell)
        return papers

    def _has_several_papers(self) -> bool:
        hashes = (pc.unique(table["hash"]).to_pylist() for table in self._tables)
        return len(set().union(*hashes)) > 1


def _cells(rows: pa.Table) -> Iterator[Cell]:
    kinds: dict[tuple[Any, ...], CellKind] = {}
    of_cells, of_kinds = ([rows[n].to_pylist() for n in names] for names in (_OF_CELL, _OF_KIND))
    of_kinds[_OF_KIND.index("missed_checks")] = map(tuple, rows["missed_checks"].to_pylist())
    of_kinds[-1] = map(REASONS_OF_SET.__getitem__, rows["reasons"].to_pylist())
    for (record_id, question, words, p, excerpt, extra), kind in zip(
        zip(*of_cells, strict=True), zip(*of_kinds, strict=True), strict=True
    ):
        shared = kinds.get(kind) or kinds.setdefault(kind, CellKind(*kind))
        yield Cell(record_id, question, shared, words, p, excerpt or "", extra)


def _hashes(papers: pa.ChunkedArray) -> pa.Array:
    encoded = papers.combine_chunks().dictionary_encode()
    hashes = [stable_hash(paper) for paper in encoded.dictionary.to_pylist()]
    return pa.array(hashes, pa.uint64()).take(encoded.indices)


def _in_share(rows: pa.Table, share: int) -> pa.Table:
    """The rows of a fair sample of one paper in `share`, a power of two."""
    rest = pc.bit_wise_and(rows["hash"], pa.scalar(share - 1, pa.uint64()))
    return rows.filter(pc.equal(rest, 0)) if share > 1 else rows


def stable_hash(name: str) -> int:
    """A 64-bit hash that is the same on every machine; sampling by it is fair and repeatable."""
    return int.from_bytes(key_digest(name.encode())[:8], "big")
