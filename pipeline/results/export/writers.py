"""Writers of tables as Parquet, CSV or JSON Lines, with CSV cells safe to open in a spreadsheet."""

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv
import pyarrow.parquet as pq

RowWriter: TypeAlias = Callable[[str, pa.Schema, Iterable[pa.Table]], int]
"""Writes tables of a schema to a local path and returns the number of rows."""

FORMULA_STARTS = "=+@\t\r\n＝＋－＠-"
"""First characters that make a spreadsheet read a cell as a formula, after OWASP."""


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
    names = without_formulas(pa.chunked_array([flat.names], pa.string())).to_pylist()
    csv_schema = pa.schema(list(zip(names, flat.types, strict=True)))
    with csv.CSVWriter(path, csv_schema) as writer:
        for table in tables:
            columns = [
                without_formulas(column) if pa.types.is_string(column.type) else column
                for column in flat_columns(table)
            ]
            writer.write_table(pa.table(columns, schema=csv_schema))
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
    """The schema with nested fields as text."""
    return pa.schema(
        [
            field.with_type(pa.string()) if pa.types.is_nested(field.type) else field
            for field in schema
        ]
    )


def flat_columns(table: pa.Table) -> list[pa.ChunkedArray | pa.Array]:
    """The table's columns, with nested values as JSON."""
    return [
        pa.array([_json(value) for value in column.to_pylist()], pa.string())
        if pa.types.is_nested(column.type)
        else column
        for column in table.columns
    ]


def without_formulas(column: pa.ChunkedArray | pa.Array) -> pa.ChunkedArray | pa.Array:
    """Prefixes cells that would run as formulas with an apostrophe, as OWASP advises."""
    risky = pc.match_substring_regex(column, f"^[{FORMULA_STARTS}]")
    return pc.if_else(risky, pc.binary_join_element_wise("'", column, ""), column)


def _json(value: Any) -> str | None:
    return None if value is None else orjson.dumps(value).decode()
