"""Reads and writes corrections files: CSV, JSON Lines, or a workbook that a sheet was filled in in,
with the columns of `Correction`.

A spreadsheet may have been at a CSV: its delimiter is `,`, `;` or a tab, it may begin with a byte
order mark, and a cell may have an apostrophe before what would be a formula, as exports write it.
Columns besides ours are left alone, so that a sheet may show question and answer.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import orjson

from pipeline.core.errors import ConfigError
from pipeline.store.corrections import COLUMNS, Correction
from pipeline.store.corrections_sheet import sheet_rows

MODEL = "model"
"""A column that may stand in place of `generation_key`."""

_READ = (*COLUMNS, MODEL)
_DELIMITERS = ",;\t"
_ESCAPED = re.compile(r"'+[=+@\t\r\n＝＋－＠-]")


class FileRow(NamedTuple):
    """A row of a file: its cells by column, "" where it has none; or what is wrong with it."""

    line: int  # from 1; of a CSV row of several lines, the first
    cells: Mapping[str, str]
    fault: str = ""


def file_rows(name: str, data: bytes) -> Iterator[FileRow]:
    """The rows of a corrections file; empty lines are left out.

    Raises `ConfigError` if the name ends in none of `.csv`, `.xlsx` and `.jsonl`, if the file is
    none of these, or if a table has no columns `record_id` and `value`.
    """
    ending = PurePosixPath(name).suffix.lower()
    if ending not in (".csv", ".xlsx", ".jsonl"):
        raise ConfigError(
            f"{name}: corrections are read from .csv, .xlsx and .jsonl; save the sheet as one of "
            "these"
        )
    if ending == ".xlsx":
        return _sheet_rows(name, data)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{name}: byte {error.start} is not UTF-8: {error.reason}; save it as UTF-8 "
            "(in a spreadsheet: CSV UTF-8)"
        ) from error
    return _csv_rows(name, text) if ending == ".csv" else _jsonl_rows(text)


def _csv_rows(name: str, text: str) -> Iterator[FileRow]:
    header_line = text.partition("\n")[0]
    delimiter = max(_DELIMITERS, key=header_line.count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    return _rows_below(_header(name, next(rows, [])), rows)


def _sheet_rows(name: str, data: bytes) -> Iterator[FileRow]:
    rows = sheet_rows(name, data)
    header = _header(name, next(rows, []))
    return (
        FileRow(line, _cells(header, row)) for line, row in enumerate(rows, start=2) if any(row)
    )


def _header(name: str, cells: Sequence[str]) -> list[str]:
    header = [cell.strip() for cell in cells]
    if missing := [column for column in ("record_id", "value") if column not in header]:
        raise ConfigError(
            f"{name}: no column {' and no column '.join(missing)}; a corrections file begins with "
            f"the line {','.join(COLUMNS)}"
        )
    return header


def _rows_below(header: list[str], rows: Any) -> Iterator[FileRow]:
    while True:
        line = rows.line_num + 1
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            yield FileRow(line, {}, f"not a row of a CSV file: {error}")
            continue
        if len(row) > len(header):
            fault = f"{len(row)} cells under {len(header)} columns; put quotes around the text"
            yield FileRow(line, {}, fault)
        elif any(row):
            yield FileRow(line, _cells(header, map(_unescaped, row)))


def _cells(header: Iterable[str], row: Iterable[str]) -> dict[str, str]:
    given = dict(zip(header, row, strict=False))
    return {column: given.get(column, "") for column in _READ}


def _unescaped(cell: str) -> str:
    return cell[1:] if _ESCAPED.match(cell) else cell


def _jsonl_rows(text: str) -> Iterator[FileRow]:
    for line, content in enumerate(text.split("\n"), 1):
        if not content.strip():
            continue
        try:
            row = orjson.loads(content)
        except orjson.JSONDecodeError as error:
            yield FileRow(line, {}, f"no JSON: {error}")
            continue
        if not isinstance(row, dict):
            yield FileRow(line, {}, "not an object with the columns as keys")
            continue
        cells = {column: row.get(column) or "" for column in _READ}
        if wrong := [column for column, cell in cells.items() if not isinstance(cell, str)]:
            yield FileRow(line, {}, f"{wrong[0]}: must be text")
        else:
            yield FileRow(line, cells)


def as_time(text: str) -> datetime:
    """An ISO time as UTC, also without a zone, which is taken for UTC, or without a time of day.

    Raises `ValueError` for anything else.
    """
    time = datetime.fromisoformat(text)
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def as_cells(correction: Correction) -> dict[str, str]:
    """A correction as a file has it."""
    return {**correction._asdict(), "at": correction.at.isoformat().replace("+00:00", "Z")}


def as_csv(corrections: Iterable[Correction]) -> str:
    """A corrections file, for programs: cells are as they are."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    writer.writerows(map(as_cells, corrections))
    return text.getvalue()
