"""Reads CSV and TSV into records, by Python's `csv`, with one row in memory at a time.

The first line that is not blank names the columns. A row may span lines, within quotes; the `row`
of a record is the number of its first line, from 0. A row that is not CSV loses no other: reading
goes on where rows can be told again.
"""

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

from pipeline.core.records import Fault, Place, Record, Reject
from pipeline.core.text import plural
from pipeline.reading.csv_lines import RowLines, lines_in
from pipeline.reading.jsonl import CutText
from pipeline.reading.row_reader import RowReader

_WHOLE = re.compile(r"-?[0-9]{1,20}")
_FRACTION = re.compile(r"-?[0-9]+\.[0-9]+")
_INTEGERS = range(-(2**63), 2**64)
_BOOLEANS = {
    written: word == "true"
    for word in ("true", "false")
    for written in (word, word.title(), word.upper())
}


def csv_items(
    uri: str, chunks: Iterable[bytes], limit: int, rows: RowReader, delimiter: str | None = None
) -> Iterator[Record | Reject]:
    """A record or a reject for every row that is not blank.

    Without a delimiter, the header tells it. Rows longer than `limit` bytes are rejects.
    """
    csv.field_size_limit(max(csv.field_size_limit(), limit))  # of the whole process
    feed, header = RowLines(lines_in(chunks, limit), limit), None
    for cells in _rows(feed, delimiter):
        place = Place(uri, feed.first)
        try:
            if isinstance(cells, Fault):
                raise cells
            if header is None:
                header = _Header.of(cells, rows)
                feed.signs = len(cells) - 1
            else:
                yield rows.item(header.row(cells, feed.span), place, feed.payload)
        except Fault as fault:
            torn = fault.payload if isinstance(fault, CutText) else b""
            yield fault.at(place, feed.payload() + torn)
            if header is None:
                return


def _rows(feed: RowLines, delimiter: str | None) -> Iterator[list[str] | Fault]:
    """The cells of each row, or its fault; `feed` has the lines of the one that was yielded."""
    reader = None
    while True:
        try:
            feed.begin()
            if reader is None:
                feed.delimiter = delimiter or feed.found_delimiter()
                reader = csv.reader(feed, delimiter=feed.delimiter, strict=True)
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            feed.broken = "quotes"
            yield feed.fault or Fault("invalid_csv", f"{feed.span}: {_explained(error)}")
        except Fault as fault:
            feed.broken = "size" if fault.reason == "too_large" else None
            yield fault
        else:
            if any(map(str.strip, cells)):
                yield feed.fault or cells


@dataclass(frozen=True, slots=True)
class _Header:
    """The names of the columns, and which are the user's own, whose cells have types."""

    names: Sequence[str]
    own: Sequence[bool]
    unnamed: frozenset[str]

    @classmethod
    def of(cls, cells: Sequence[str], rows: RowReader) -> Self:
        """Raises `Fault` if two columns have one name."""
        written = [cell.strip() for cell in cells]
        names = [name or f"column_{number}" for number, name in enumerate(written, 1)]
        if twice := [name for name, count in Counter(names).items() if count > 1]:
            raise Fault("invalid_csv", f'two columns are called "{twice[0][:80]}"; rename one')
        own = [rows.columns.is_own(name) for name in names]
        unnamed = frozenset(n for n, w in zip(names, written, strict=True) if not w)
        return cls(names, own, unnamed)

    def row(self, cells: Sequence[str], span: str) -> dict[str, Any]:
        """Cells under their names; raises `Fault` if there are too few or too many."""
        count = len(self.names)
        if len(cells) < count or any(cells[count:]):
            said = f"{span}: {len(cells)} cells, but the header names {plural(count, 'column')}"
            raise Fault(
                "invalid_csv", f"{said}; put cells with line ends, quotes or commas in quotes"
            )
        return {
            name: cell_value(cell) if own else cell or None
            for name, own, cell in zip(self.names, self.own, cells, strict=False)
            if cell or name not in self.unnamed
        }


def cell_value(cell: str) -> Any:
    """What a cell of a user's own column holds.

    A number if that would be written just so, hence `7` and not `007`; a boolean; else text. None
    for an empty cell.
    """
    if not cell:
        return None
    if cell[-1] not in "0123456789":
        return _BOOLEANS.get(cell, cell)
    if _WHOLE.fullmatch(cell):
        number = int(cell)
        return number if number in _INTEGERS and str(number) == cell else cell
    if _FRACTION.fullmatch(cell):
        fraction = float(cell)
        return fraction if repr(fraction) == cell else cell
    return cell


def _explained(error: csv.Error) -> str:
    said = str(error)
    if "unexpected end" in said:
        return "a quote is opened and never closed"
    if "new-line" in said:
        return "a carriage return alone ends no line; write the file with \\n or \\r\\n"
    return f"{said}; double a quote within quotes"
