"""Reads the first sheet of an Excel workbook, as a person who filled it in has saved it."""

import io
from collections.abc import Iterator
from datetime import date, datetime, time
from typing import Any
from zipfile import BadZipFile

from pipeline.core.errors import ConfigError


def sheet_rows(name: str, data: bytes) -> Iterator[list[str]]:
    """The rows as text: a formula is its last result, a time is in ISO, an empty cell is "".

    Raises `ConfigError` if the file is no workbook.
    """
    from openpyxl import load_workbook  # a slow import
    from openpyxl.utils.exceptions import InvalidFileException

    try:
        book = load_workbook(io.BytesIO(data), read_only=True, data_only=True)
        rows = book.worksheets[0].iter_rows(values_only=True)
    except (BadZipFile, InvalidFileException, KeyError, IndexError, ValueError) as error:
        raise ConfigError(f"{name}: not an Excel workbook; save it as .xlsx or .csv") from error
    return ([_text(cell) for cell in row] for row in rows)


def _text(cell: Any) -> str:
    from openpyxl.utils.escape import unescape

    match cell:
        case None:
            return ""
        case str():
            return str(unescape(cell))
        case datetime() | date() | time():
            return cell.isoformat()
        case _:
            return str(cell)
