"""Writers of tables as Parquet, CSV or JSON Lines, with CSV cells safe to open in a spreadsheet."""

import codecs
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

_SIGNED_NUMBER = r"\A[+-](\d[\d.,]*|[.,]\d+)([eE][+-]?\d+)?%?\z"
"""As `-5`, `+3.2`, `-1,200.50` and `-1e5`."""


def write_parquet(path: str, schema: pa.Schema, tables: Iterable[pa.Table]) -> int:
    rows = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for table in tables:
            writer.write_table(table.cast(schema))
            rows += table.num_rows
    return rows


def write_csv(path: str, schema: pa.Schema, tables: Iterable[pa.Table]) -> int:
    """A `RowWriter` that prefixes cells with an apostrophe if they would run as formulas."""
    return _write_csv(path, schema, tables, without_formulas)


def write_raw_csv(path: str, schema: pa.Schema, tables: Iterable[pa.Table]) -> int:
    """A `RowWriter` that leaves all texts as they are, for programs."""
    return _write_csv(path, schema, tables, lambda column: column)


def _write_csv(
    path: str,
    schema: pa.Schema,
    tables: Iterable[pa.Table],
    as_cells: Callable[[pa.ChunkedArray | pa.Array], pa.ChunkedArray | pa.Array],
) -> int:
    """Begins with a byte order mark, without which Excel takes UTF-8 for an old code page."""
    rows = 0
    flat = flat_schema(schema)
    names = as_cells(pa.chunked_array([flat.names], pa.string())).to_pylist()
    csv_schema = pa.schema(list(zip(names, flat.types, strict=True)))
    with pa.OSFile(path, "wb") as file:
        file.write(codecs.BOM_UTF8)
        with csv.CSVWriter(file, csv_schema) as writer:
            for table in tables:
                columns = [
                    as_cells(column) if pa.types.is_string(column.type) else column
                    for column in flat_columns(table)
                ]
                writer.write_table(pa.table(columns, schema=csv_schema))
                rows += table.num_rows
    return rows


def write_jsonl(path: str, tables: Iterable[pa.Table], as_json: frozenset[str]) -> int:
    """Writes tables to a local path, and returns the number of rows; the cells of the columns
    `as_json` are JSON already.
    """
    rows = 0
    with open(path, "wb") as file:
        for table in tables:
            for row in table.to_pylist():
                for name in as_json:
                    row[name] = orjson.Fragment(row[name])
                file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
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
    """Prefixes cells that would run as formulas with an apostrophe, as OWASP advises.

    A number with a sign is none: it has nothing in it that a spreadsheet could run.
    """
    begins = pc.match_substring_regex(column, f"^[{FORMULA_STARTS}]")
    risky = pc.and_(begins, pc.invert(pc.match_substring_regex(column, _SIGNED_NUMBER)))
    return pc.if_else(risky, pc.binary_join_element_wise("'", column, ""), column)


def _json(value: Any) -> str | None:
    return None if value is None else orjson.dumps(value).decode()
