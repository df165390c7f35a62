"""The same rows in every format: a file each, as careful writers make them."""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from tests.support.hostile import parquet_bytes

Rows = Sequence[Mapping[str, Any]]


def flat(row: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A row without objects: their entries are columns with dotted names."""
    cells: dict[str, Any] = {}
    for name, value in row.items():
        cells |= (
            flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
        )
    return cells


def as_csv(rows: Rows, delimiter: str = ",") -> bytes:
    """Objects are flat and lists are JSON, for want of anything else in a cell."""
    table = [flat(row) for row in rows]
    sink = io.StringIO()
    names = list(dict.fromkeys(name for row in table for name in row))
    writer = csv.writer(sink, delimiter=delimiter)
    writer.writerow(names)
    writer.writerows([_cell(row.get(name)) for name in names] for row in table)
    return sink.getvalue().encode()


def _cell(value: Any) -> Any:
    is_json = isinstance(value, list | bool)
    return json.dumps(value, ensure_ascii=False) if is_json else value


def as_jsonl(rows: Rows) -> bytes:
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


FORMATS: Mapping[str, Callable[[Rows], bytes]] = {
    "jsonl": as_jsonl,
    "json": lambda rows: json.dumps(rows).encode(),
    "pretty.json": lambda rows: json.dumps(rows, indent=2, ensure_ascii=False).encode(),
    "csv": as_csv,
    "tsv": lambda rows: as_csv(rows, "\t"),
    "parquet": lambda rows: parquet_bytes(pa.Table.from_pylist(list(rows))),
    "flat.jsonl": lambda rows: as_jsonl([flat(row) for row in rows]),
}
"""A writer for each ending; the last has objects flat, as a table of cells does."""
