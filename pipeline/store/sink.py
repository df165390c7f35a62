"""The end of the flow: answers and rejects become parts, and everything is counted."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.core.accounting import Totals
from pipeline.core.arrow import receipt
from pipeline.core.filesystem import Storage
from pipeline.store.parts import PartWriter
from pipeline.store.schema import ANSWERS, ANSWERS_FOLDER, REJECTS, REJECTS_FOLDER


@dataclass(frozen=True, slots=True)
class Sink:
    """Writes tables of outcomes to a store and returns a receipt for each, a row of JSON totals.

    Ray Data's own datasink reports once, when everything is written. Receipts come with the parts,
    so that a run's progress and its final counts are the same numbers.
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
                size += self.writer.write(store.join(folder), part, schema)
                parts += 1
        return receipt(Totals.of(outcomes, parts=parts, part_bytes=size))
