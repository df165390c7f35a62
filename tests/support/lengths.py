"""What a store knows of the lengths of answers, without a store."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pyarrow as pa

from pipeline.store.lengths import COLUMNS, Lengths
from pipeline.store.schema import TYPES


def lengths_of(
    record_ids: Sequence[str], questions: Sequence[str], tokens: Sequence[int]
) -> Lengths:
    """Those of one answer to each record, whose questions have no ids."""
    rows = len(record_ids)
    columns = {
        "record_id": record_ids,
        "question": questions,
        "completion_tokens": tokens,
        "written_at": [datetime(2026, 11, 29, tzinfo=UTC)] * rows,
    }
    cells = {name: pa.array(columns.get(name, [None] * rows), TYPES[name]) for name in COLUMNS}
    return Lengths.among(pa.table(cells))
