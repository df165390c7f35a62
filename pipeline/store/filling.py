"""Fills carried columns in that the rows of current answers lack, without generating anything.

A row is never changed: one with the same content and the columns is stored beside it. It keeps its
`run_id`, and its `written_at` is one microsecond later, so that it counts in the place of the other
and in that of no third: neither of another answer to its record, nor of a row that another command
writes meanwhile. Columns that a row has and its record lacks stay.

*Crash windows:* a kill leaves some rows filled in and the others as before; the next run fills
these in. A part that was compacted away since it was listed is left to the next run.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.core.accounting import Totals
from pipeline.core.arrow import set_column, slices
from pipeline.core.carried import Carry, carried_json, columns_of, comparable
from pipeline.core.filesystem import Location
from pipeline.store.ledger import answer_digest
from pipeline.store.parts import PartGone, read_batches
from pipeline.store.reader import (
    BY_GENERATION,
    DIGEST_BYTES,
    Digests,
    PartRows,
    as_digests,
    counting_rows,
    row_digests,
)
from pipeline.store.schema import ANSWERS, ANSWERS_FOLDER, TIMESTAMP
from pipeline.store.sink import Sink

OUTDATED = pa.schema([("answer", pa.binary(DIGEST_BYTES)), ("extra", pa.string())])
"""The digest of an answer, and the columns that its record carries, as JSON."""

_MOMENT = pa.scalar(1, pa.duration("us"))


def a_moment_later(rows: pa.Table) -> pa.Table:
    """Rows that count in the place of those they are copies of, and of no others."""
    later = pc.add(rows["written_at"], _MOMENT).cast(TIMESTAMP)
    return set_column(rows, "written_at", later)


def is_current(prompts: pa.Table) -> pa.ChunkedArray:
    """Which prompts the store holds answers to."""
    return pc.is_in(prompts["standing"], pa.array(["current", "current_failed"]))


def outdated_in(prompts: pa.Table, carry: Carry) -> pa.Table:
    """The current rows among prompts whose columns are not known to be in the store."""
    if not carry:
        return OUTDATED.empty_table()
    rows = prompts.filter(pc.and_(is_current(prompts), pc.is_valid(prompts["extra"])))
    keys = (rows[name].to_pylist() for name in BY_GENERATION)
    extras = [carried_json(orjson.loads(e), carry) for e in rows["extra"].to_pylist()]
    columns = [pa.array(map(answer_digest, *keys), OUTDATED.field("answer").type), extras]
    return pa.table(columns, schema=OUTDATED)


@dataclass(frozen=True, slots=True)
class Filling:
    """The columns of outdated answers, sorted by the digests of these; takes about as much memory
    as the columns."""

    answers: Digests
    extras: pa.ChunkedArray

    @classmethod
    def of(cls, outdated: Sequence[pa.Table]) -> Self:
        rows = pa.concat_tables(outdated)
        answers = as_digests(rows["answer"].to_pylist())
        answers, first = np.unique(answers, return_index=True)
        return cls(answers, rows["extra"].take(pa.array(first)))

    def parts(self, store: Location) -> list[PartRows]:
        """The parts of a store with counting rows of these answers."""
        parts = counting_rows(store.join(ANSWERS_FOLDER))
        return [part for part in parts if self._has(part.keys[part.counts]).any()]

    def fill_in(self, part: PartRows, sink: Sink) -> Totals:
        """Stores the rows of a part anew that lack columns."""
        totals = Totals()
        with suppress(PartGone):
            for rows in slices(self._filled(part, sink), sink.rows_per_file):
                size = sink.writer.write_as_it_is(sink.new_answers(), rows)
                totals.sums.update(parts=1, part_bytes=size, filled_in=rows.num_rows)
        return totals

    def _filled(self, part: PartRows, sink: Sink) -> pa.Table:
        made, at = [ANSWERS.empty_table()], 0
        fs = sink.storage.at(sink.uri).fs
        for rows in read_batches(fs, part.path, ANSWERS.names):
            counts = part.counts[at : (at := at + rows.num_rows)]
            wanted = counts & self._has(row_digests(rows, BY_GENERATION))
            made.append(self._with_columns(rows.filter(pa.array(wanted)).select(ANSWERS.names)))
        return pa.concat_tables(made)

    def _with_columns(self, rows: pa.Table) -> pa.Table:
        """Those rows whose columns change."""
        digests = row_digests(rows, BY_GENERATION)
        now = self.extras.take(pa.array(np.searchsorted(self.answers, digests))).to_pylist()
        before = [columns_of(cell) for cell in rows["extra"].to_pylist()]
        merged = [{**old, **columns_of(new)} for old, new in zip(before, now, strict=True)]
        changes = [
            comparable(new, "all") != comparable(old, "all")
            for old, new in zip(before, merged, strict=True)
        ]
        rows = set_column(rows, "extra", [carried_json(columns, "all") for columns in merged])
        return a_moment_later(rows).filter(pa.array(changes, pa.bool_()))

    def _has(self, digests: Digests) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        return np.isin(digests, self.answers)
