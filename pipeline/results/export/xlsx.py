"""Writer of tables as an Excel workbook: text stays text, and cells stay within Excel's limits."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

import pyarrow as pa
import xlsxwriter
from xlsxwriter.format import Format
from xlsxwriter.worksheet import Worksheet

from pipeline.core.errors import ConfigError
from pipeline.core.text import plural
from pipeline.results.export.writers import FORMULA_STARTS, flat_columns, flat_schema

MAX_ROWS = 1_048_575
"""Rows of a sheet below its header."""

MAX_COLUMNS = 16_384
MAX_CELL_UNITS = 32_767
"""UTF-16 code units of a cell."""

MAX_EXACT = 10**15
"""A sheet keeps no more digits of a number."""

_TIME = "yyyy-mm-dd hh:mm:ss"
_MIN_WIDTH, _MAX_WIDTH = 10, 60
_ROWS_FOR_WIDTH = 100
_TRUNCATED = "… [{:,} more characters; an export to .parquet has all]"
_VISIBLE = {code: 0x2400 + code for code in range(32) if chr(code) not in "\t\n"} | {
    0xFFFE: 0xFFFD,
    0xFFFF: 0xFFFD,
}
"""Visible stand-ins for characters that XML forbids or changes: ␀ for NUL, ␍ for return."""

_CONTROL = re.compile("[" + "".join(re.escape(chr(code)) for code in _VISIBLE) + "]")


def check_row_limit(rows: int) -> None:
    """Raises `ConfigError` for more rows than a sheet can have."""
    if rows > MAX_ROWS:
        raise ConfigError(
            f"--to .xlsx: {plural(rows, 'row')}, but a sheet has at most {MAX_ROWS:,}; "
            "export to .parquet or .csv"
        )


def write_xlsx(path: str, schema: pa.Schema, tables: Iterable[pa.Table]) -> int:
    """A `RowWriter` that keeps one table and one row of the sheet in memory.

    If fields describe a question in their metadata, a second sheet `questions` lists them, a note
    on the header has its text, and the first column is frozen like the header. Raises `ConfigError`
    for too many rows.
    """
    book = xlsxwriter.Workbook(
        path,
        {
            "constant_memory": True,
            "tmpdir": os.path.dirname(path),
            "strings_to_formulas": False,
            "strings_to_numbers": False,
            "strings_to_urls": False,
            "nan_inf_to_errors": True,
            "use_zip64": True,
        },
    )
    questions = [_described(field) for field in schema if field.metadata]
    sheet = _Sheet(book, "answers", schema.names, frozen=1 if questions else 0)
    sheet.add_notes({question["column"]: question["question"] for question in questions})
    flat = flat_schema(schema)
    for table in tables:
        columns = pa.table(flat_columns(table), schema=flat).columns
        sheet.write(zip(*(_cells(column) for column in columns), strict=True))
    sheet.finish()
    if questions:
        second = _Sheet(book, "questions", list(questions[0]), frozen=0)
        second.write(tuple(question.values()) for question in questions)
        second.finish()
    book.close()
    return sheet.rows


def _described(field: pa.Field) -> dict[str, str]:
    metadata = {name.decode(): value.decode() for name, value in field.metadata.items()}
    return {"column": field.name, **metadata}


def _cells(column: pa.ChunkedArray) -> list[Any]:
    """Texts, numbers, booleans, and times in UTC, for which a sheet has no zone."""
    is_time = pa.types.is_timestamp(column.type)
    return list((column.cast(pa.timestamp("us")) if is_time else column).to_pylist())


class _Sheet:
    """A sheet that is written row by row, header first."""

    def __init__(
        self, book: xlsxwriter.Workbook, name: str, header: Sequence[str], frozen: int
    ) -> None:
        self.rows = 0
        self._header = header
        self._sheet: Worksheet = book.add_worksheet(name)
        wrapped = {"text_wrap": True, "valign": "top"}
        self._plain: Format = book.add_format()
        self._text: Format = book.add_format(wrapped)
        self._quoted: Format = book.add_format({"quote_prefix": True, **wrapped})
        self._value: Format = book.add_format({"valign": "top"})
        self._time: Format = book.add_format({"num_format": _TIME, "valign": "top"})
        bold: Format = book.add_format({"bold": True, "quote_prefix": True, **wrapped})
        self._sheet.freeze_panes(1, frozen)
        self._sheet.ignore_errors({"number_stored_as_text": "A1:XFD1048576"})
        for column, title in enumerate(header):
            self._write_text(0, column, title, bold)

    def write(self, rows: Iterable[Sequence[Any]]) -> None:
        rows = iter(rows)
        if not self.rows:
            first = list(islice(rows, _ROWS_FOR_WIDTH))
            self._set_widths(first)
            self._write_rows(first)
        self._write_rows(rows)

    def add_notes(self, texts: Mapping[str, str]) -> None:
        """Notes on headers, where they say more than the header itself."""
        for column, title in enumerate(self._header):
            if (text := texts.get(title)) and not title.startswith(text):
                note = truncated(without_controls(text))
                self._sheet.write_comment(0, column, note, {"x_scale": 3, "y_scale": 2})

    def finish(self) -> None:
        self._sheet.autofilter(0, 0, self.rows, len(self._header) - 1)

    def _write_rows(self, rows: Iterable[Sequence[Any]]) -> None:
        for row in rows:
            self.rows += 1
            check_row_limit(self.rows)
            for column, cell in enumerate(row):
                if cell is not None:
                    self._write_cell(column, cell)

    def _write_cell(self, column: int, cell: Any) -> None:
        match cell:
            case str():
                risky = cell != "" and cell[0] in FORMULA_STARTS
                self._write_text(self.rows, column, cell, self._quoted if risky else self._text)
            case bool():
                self._sheet.write_boolean(self.rows, column, cell, self._value)
            case datetime():
                self._sheet.write_datetime(self.rows, column, cell, self._time)
            case int() if abs(cell) > MAX_EXACT:
                self._write_text(self.rows, column, str(cell), self._quoted)
            case _:
                self._sheet.write_number(self.rows, column, cell, self._value)

    def _write_text(self, row: int, column: int, text: str, format_: Format) -> None:
        text = truncated(without_controls(text))
        if text.startswith("<r>") and text.endswith("</r>"):
            # XlsxWriter would take this for its own markup and write it unescaped.
            self._sheet.write_rich_string(row, column, text[:1], self._plain, text[1:], format_)
        else:
            self._sheet.write_string(row, column, text, format_)

    def _set_widths(self, rows: Sequence[Sequence[Any]]) -> None:
        for number, title in enumerate(self._header):
            longest = max((len(str(row[number] or "")) for row in rows), default=0)
            width = max(longest, len(title) + 3, _MIN_WIDTH)  # 3: the button of the filter
            self._sheet.set_column(number, number, min(width, _MAX_WIDTH))


def without_controls(text: str) -> str:
    """The text with a visible stand-in for every character that a cell cannot contain."""
    return text.translate(_VISIBLE) if _CONTROL.search(text) else text


def truncated(text: str) -> str:
    """The text up to the limit of a cell, followed by how much is missing."""
    if len(text) <= MAX_CELL_UNITS // 2:
        return text
    units = text.encode("utf-16-le")
    if len(units) <= 2 * MAX_CELL_UNITS:
        return text
    room = MAX_CELL_UNITS - len(_TRUNCATED.format(len(text)))
    start = units[: 2 * room].decode("utf-16-le", "ignore")  # without half of a surrogate pair
    return start + _TRUNCATED.format(len(text) - len(start))
