"""Tables as one file: Parquet, CSV or JSON lines; and what a spreadsheet may be shown."""

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv
import pyarrow.parquet as pq

RowWriter: TypeAlias = Callable[[str, pa.Schema, Iterable[pa.Table]], int]
"""Writes tables of a schema to a local path; returns how many rows."""

RISKY = "=+@\t\r\n＝＋－＠-"
"""Signs that begin what a spreadsheet would run as a formula, after OWASP."""


def write_parquet(path: str, schema: pa.Schema, tables: Iterable[pa.Table]) -> int:
    rows = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for table in tables:
            writer.write_table(table.cast(schema))
            rows += table.num_rows
    return rows


def write_csv(path: str, schema: pa.Schema, tables: Iterable[pa.Table]) -> int:
    rows = 0
    flat = flat_schema(schema)
    names = defused(pa.chunked_array([flat.names], pa.string())).to_pylist()
    shown = pa.schema(list(zip(names, flat.types, strict=True)))
    with csv.CSVWriter(path, shown) as writer:
        for table in tables:
            columns = [_harmless(column) for column in flat_columns(table)]
            writer.write_table(pa.table(columns, schema=shown))
            rows += table.num_rows
    return rows


def write_jsonl(path: str, schema: pa.Schema, tables: Iterable[pa.Table]) -> int:
    rows = 0
    with open(path, "wb") as file:
        for table in tables:
            file.writelines(
                orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in table.to_pylist()
            )
            rows += table.num_rows
    return rows


def flat_schema(schema: pa.Schema) -> pa.Schema:
    return pa.schema(
        [field if _is_flat(field.type) else field.with_type(pa.string()) for field in schema]
    )


def flat_columns(table: pa.Table) -> list[pa.ChunkedArray | pa.Array]:
    """A table's columns for a spreadsheet: what is nested becomes JSON."""
    return [
        column
        if _is_flat(column.type)
        else pa.array([_json(value) for value in column.to_pylist()], pa.string())
        for column in table.columns
    ]


def defused(column: pa.ChunkedArray | pa.Array) -> pa.ChunkedArray | pa.Array:
    """Text that begins as a formula does, with an apostrophe before it, as OWASP advises."""
    risky = pc.match_substring_regex(column, f"^[{RISKY}]")
    return pc.if_else(risky, pc.binary_join_element_wise("'", column, ""), column)


def _harmless(column: pa.ChunkedArray | pa.Array) -> pa.ChunkedArray | pa.Array:
    return defused(column) if pa.types.is_string(column.type) else column


def _is_flat(type_: pa.DataType) -> bool:
    return not pa.types.is_nested(type_)


def _json(value: Any) -> str | None:
    return None if value is None else orjson.dumps(value).decode()
