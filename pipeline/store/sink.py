"""The end of the flow: answers and rejects become parts, and everything is counted."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.core.accounting import Totals
from pipeline.core.filesystem import Storage
from pipeline.store.parts import PartWriter, write_part
from pipeline.store.schema import ANSWERS, ANSWERS_FOLDER, REJECTS, REJECTS_FOLDER


@dataclass(frozen=True, slots=True)
class Sink:
    """Writes a table of outcomes to a store and returns its receipt, a row of JSON totals.

    Ray Data's own datasink reports when all is written; receipts come as parts do, so that a
    run's progress and its exact counts are one and the same.
    """

    uri: str
    storage: Storage
    writer: PartWriter
    rows_per_file: int

    def write(self, outcomes: pa.Table) -> pa.Table:
        store = self.storage.at(self.uri)
        parts = size = 0
        for folder, schema, standings in (
            (ANSWERS_FOLDER, ANSWERS, ["answered", "failed"]),
            (REJECTS_FOLDER, REJECTS, ["rejected"]),
        ):
            rows = outcomes.filter(pc.is_in(outcomes["standing"], pa.array(standings)))
            for start in range(0, rows.num_rows, self.rows_per_file):
                part = rows.slice(start, self.rows_per_file)
                size += write_part(store.join(folder), part, schema, self.writer)
                parts += 1
        return Totals.of(outcomes, parts=parts, part_bytes=size).receipt()
