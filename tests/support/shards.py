"""Reads a file or a folder as a single read task does, without a cluster."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.config.schema import Fields, Input, InputFormat
from pipeline.core.filesystem import Storage
from pipeline.reading.shards import list_shards
from pipeline.reading.source import read_tables

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Reading:
    """What a read task passes on: rows of records, of rejects and of tallies."""

    records: list[Row]
    rejects: list[Row]
    tallies: list[Row]


def read_path(
    path: Path | str,
    limit: int = 4 * 2**20,
    kind: InputFormat = "auto",
    fields: Mapping[str, str] | None = None,
) -> Reading:
    """Everything at a path, read by one task."""
    spec = Input(
        uri=str(path), format=kind, max_record_bytes=limit, fields=Fields(**(fields or {}))
    )
    storage = Storage()
    return as_reading(list(read_tables(list_shards(spec.uri, storage).shards, spec, storage)))


def as_reading(tables: Sequence[pa.Table]) -> Reading:
    rows = [row for table in tables for row in table.to_pylist()]
    by_standing = {
        standing: [row for row in rows if row["standing"] == standing]
        for standing in ("work", "rejected", "tally")
    }
    assert sum(map(len, by_standing.values())) == len(rows)
    return Reading(*by_standing.values())


def faults(reading: Reading) -> list[tuple[int, str]]:
    """The rejects as (row, reason)."""
    return [(r["source_row"], r["reason"]) for r in reading.rejects]
