"""Stores outcomes: answers and rejects become parts, and everything is counted."""

from collections.abc import Iterable, Set
from contextlib import suppress
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.core.accounting import Totals
from pipeline.core.arrow import carry, set_column, slices
from pipeline.core.filesystem import Location, Storage
from pipeline.core.records import Standing
from pipeline.store.parts import PartGone, PartWriter, read_part
from pipeline.store.reader import row_keys
from pipeline.store.schema import ANSWERS, ANSWERS_FOLDER, OUTCOMES, REJECTS, REJECTS_FOLDER


@dataclass(frozen=True, slots=True)
class Sink:
    """Writes rows of `OUTCOMES` to the store of a run, and finds those that it has there."""

    uri: str
    storage: Storage
    writer: PartWriter
    rows_per_file: int

    def write(self, outcomes: pa.Table) -> Totals:
        """Stores the answers and rejects of a table; returns the totals of all its rows."""
        sizes = [
            *(
                self.write_answers(self.new_answers(), rows)
                for rows in self._in_parts(outcomes, "answered", "failed")
            ),
            *(self._write_rejects(rows) for rows in self._in_parts(outcomes, "rejected")),
        ]
        return Totals.of(outcomes, parts=len(sizes), part_bytes=sum(sizes))

    def new_answers(self) -> Location:
        """A part of `answers/` that is still to be written."""
        return self.writer.new_part(self._folder(ANSWERS_FOLDER))

    def write_answers(self, part: Location, rows: pa.Table) -> int:
        """Writes a part of answers; returns its size in bytes."""
        return self.writer.write(part, rows, ANSWERS)

    def stored(self, parts: Iterable[str], wanted: Set[bytes]) -> pa.Table:
        """The wanted answers in these parts, by their digests, each once; some may not exist."""
        tables, left = [OUTCOMES.empty_table()], set(wanted)
        for path in parts:
            with suppress(PartGone):
                rows = read_part(self._folder(ANSWERS_FOLDER).fs, path, ANSWERS.names)
                digests = row_keys(rows)
                tables.append(carry(rows.filter([d in left for d in digests]), OUTCOMES))
                left.difference_update(digests)
        found = pa.concat_tables(tables)
        return set_column(found, "standing", found["status"])

    def _write_rejects(self, rows: pa.Table) -> int:
        part = self.writer.new_part(self._folder(REJECTS_FOLDER))
        return self.writer.write(part, rows, REJECTS)

    def _in_parts(self, outcomes: pa.Table, *standings: Standing) -> list[pa.Table]:
        rows = outcomes.filter(pc.is_in(outcomes["standing"], pa.array(standings)))
        return slices(rows, self.rows_per_file)

    def _folder(self, name: str) -> Location:
        return self.storage.at(self.uri).join(name)
