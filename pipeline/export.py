"""Rows of the store as one file for other tools: Parquet, CSV or JSON lines."""

import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import PurePosixPath
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv
import pyarrow.parquet as pq

from pipeline.errors import ConfigError
from pipeline.storage import Storage
from pipeline.store.schema import ANSWERS
from pipeline.suggest import nearest

Writer = Callable[[str, Iterable[pa.Table]], int]


def export_rows(tables: Iterable[pa.Table], to: str, storage: Storage) -> int:
    """Writes tables of `ANSWERS` rows to a path or URI, by its ending; returns how many rows.

    The file appears whole or not at all. Raises `ConfigError` for an unknown ending.
    """
    ending = PurePosixPath(to).suffix.lower()
    if ending not in _WRITERS:
        raise ConfigError(f"--to {to}: no format for {ending!r}{nearest(ending, _WRITERS)}")
    target = storage.at(to)
    with tempfile.TemporaryDirectory() as folder:
        draft = os.path.join(folder, "export")
        rows = _WRITERS[ending](draft, tables)
        target.adopt(draft)
    return rows


def _write_parquet(path: str, tables: Iterable[pa.Table]) -> int:
    rows = 0
    with pq.ParquetWriter(path, ANSWERS, compression="zstd") as writer:
        for table in tables:
            writer.write_table(table.cast(ANSWERS))
            rows += table.num_rows
    return rows


def _write_csv(path: str, tables: Iterable[pa.Table]) -> int:
    rows = 0
    schema = pa.schema([(f.name, f.type if _is_flat(f.type) else pa.string()) for f in ANSWERS])
    with csv.CSVWriter(path, schema) as writer:
        for table in tables:
            writer.write_table(pa.table([_cell_column(c) for c in table.columns], schema=schema))
            rows += table.num_rows
    return rows


def _write_jsonl(path: str, tables: Iterable[pa.Table]) -> int:
    rows = 0
    with open(path, "wb") as file:
        for table in tables:
            file.writelines(
                orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in table.to_pylist()
            )
            rows += table.num_rows
    return rows


def _is_flat(type_: pa.DataType) -> bool:
    return not pa.types.is_nested(type_)


def _cell_column(column: pa.ChunkedArray) -> pa.ChunkedArray | pa.Array:
    """A column for a spreadsheet: lists as JSON, and no text that it would run as a formula."""
    if not _is_flat(column.type):
        return pa.array([_json(value) for value in column.to_pylist()], pa.string())
    if pa.types.is_string(column.type):
        return defused(column)
    return column


def defused(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text that begins as a formula does, with an apostrophe before it, as OWASP advises."""
    risky = pc.match_substring_regex(column, r"^[=+\-@\t\r\n]")
    return pc.if_else(risky, pc.binary_join_element_wise("'", column, ""), column)


def _json(value: Any) -> str | None:
    return None if value is None else orjson.dumps(value).decode()


_WRITERS: dict[str, Writer] = {
    ".parquet": _write_parquet,
    ".csv": _write_csv,
    ".jsonl": _write_jsonl,
}
