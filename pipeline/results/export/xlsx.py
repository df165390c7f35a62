"""Tables as an Excel workbook: every text a text, within Excel's limits, readable as it opens."""

import os
import re
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

import pyarrow as pa
import xlsxwriter
from xlsxwriter.format import Format
from xlsxwriter.worksheet import Worksheet

from pipeline.core.errors import ConfigError
from pipeline.results.export.writers import RISKY, flat_columns, flat_schema

MOST_ROWS = 1_048_575
"""Of a sheet, below its header."""

MOST_COLUMNS = 16_384
MOST_UNITS = 32_767
"""Of a cell, in UTF-16."""

_WIDEST, _NARROWEST, _LOOKED_AT = 60, 10, 100
_CUT = "… [{:,} more characters; an export to .parquet has all]"
_SIGNS = {code: 0x2400 + code for code in range(32) if chr(code) not in "\t\n"} | {
    0xFFFE: 0xFFFD,
    0xFFFF: 0xFFFD,
}
"""What XML cannot hold, or changes, as signs: NUL as ␀, a carriage return as ␍."""

_HIDDEN = re.compile("[" + "".join(re.escape(chr(code)) for code in _SIGNS) + "]")


def must_fit(rows: int) -> None:
    """Raises `ConfigError` for more rows than a sheet holds."""
    if rows > MOST_ROWS:
        raise ConfigError(
            f"--to .xlsx: {rows:,} rows, and a sheet holds {MOST_ROWS:,}; "
            "export to .parquet or .csv"
        )


def write_xlsx(path: str, schema: pa.Schema, tables: Iterable[pa.Table]) -> int:
    """As a `RowWriter` does; holds one table and one row of the sheet at a time.

    Fields that name a question in their metadata are told in a second sheet, `questions`, and what
    stands left of them is frozen with the header. Raises `ConfigError` where the rows do not fit.
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
    questions = [_about(field) for field in schema if field.metadata]
    sheet = _Sheet(book, "answers", schema.names, frozen=1 if questions else 0)
    flat = flat_schema(schema)
    for table in tables:
        columns = pa.table(flat_columns(table), schema=flat).columns
        sheet.write(zip(*(_cells(column) for column in columns), strict=True))
    sheet.finish()
    if questions:
        told = _Sheet(book, "questions", list(questions[0]), frozen=0)
        told.write(tuple(question.values()) for question in questions)
        told.finish()
    book.close()
    return sheet.rows


def _about(field: pa.Field) -> dict[str, str]:
    about = {name.decode(): value.decode() for name, value in field.metadata.items()}
    return {"column": field.name, **about}


def _cells(column: pa.ChunkedArray) -> list[Any]:
    """Texts and numbers; a time is a text as in CSV, which keeps its microseconds and its zone."""
    is_time = pa.types.is_timestamp(column.type)
    return list((column.cast(pa.string()) if is_time else column).to_pylist())


class _Sheet:
    """A sheet that is written row by row, from its header down."""

    def __init__(
        self, book: xlsxwriter.Workbook, name: str, header: Sequence[str], frozen: int
    ) -> None:
        self.rows = 0
        self._header = header
        self._sheet: Worksheet = book.add_worksheet(name)
        self._plain: Format = book.add_format()
        self._text: Format = book.add_format({"quote_prefix": True})
        bold: Format = book.add_format({"bold": True, "quote_prefix": True})
        self._sheet.freeze_panes(1, frozen)
        self._sheet.ignore_errors({"number_stored_as_text": "A1:XFD1048576"})
        for column, title in enumerate(header):
            self._write_text(0, column, title, bold)

    def write(self, rows: Iterable[Sequence[Any]]) -> None:
        rows = iter(rows)
        if not self.rows:
            first = list(islice(rows, _LOOKED_AT))
            self._set_widths(first)
            self._write_rows(first)
        self._write_rows(rows)

    def finish(self) -> None:
        self._sheet.autofilter(0, 0, self.rows, len(self._header) - 1)

    def _write_rows(self, rows: Iterable[Sequence[Any]]) -> None:
        for row in rows:
            self.rows += 1
            must_fit(self.rows)
            for column, cell in enumerate(row):
                if isinstance(cell, str):
                    risky = cell[:1] in RISKY if cell else False
                    self._write_text(self.rows, column, cell, self._text if risky else None)
                elif cell is not None:
                    self._sheet.write_number(self.rows, column, cell)

    def _write_text(self, row: int, column: int, text: str, look: Format | None) -> None:
        text = cut(shown(text))
        if text.startswith("<r>") and text.endswith("</r>"):
            # XlsxWriter would take it for markup of its own, and write it unescaped.
            self._sheet.write_rich_string(row, column, text[:1], self._plain, text[1:])
        else:
            self._sheet.write_string(row, column, text, look)

    def _set_widths(self, rows: Sequence[Sequence[Any]]) -> None:
        for number, title in enumerate(self._header):
            longest = max((len(str(row[number] or "")) for row in rows), default=0)
            room = max(longest, len(title) + 3, _NARROWEST)  # 3: the button of the filter
            self._sheet.set_column(number, number, min(room, _WIDEST))


def shown(text: str) -> str:
    """The text with a sign for every character that a cell cannot hold."""
    return text.translate(_SIGNS) if _HIDDEN.search(text) else text


def cut(text: str) -> str:
    """The text as far as a cell holds it, and how much more there is."""
    if len(text) <= MOST_UNITS // 2:
        return text
    units = text.encode("utf-16-le")
    if len(units) <= 2 * MOST_UNITS:
        return text
    room = MOST_UNITS - len(_CUT.format(len(text)))
    kept = units[: 2 * room].decode("utf-16-le", "ignore")  # without half of a surrogate pair
    return kept + _CUT.format(len(text) - len(kept))
