"""Reads CSV and TSV into records, by Python's `csv`, with one row in memory at a time.

The first line that is not blank names the columns. A row may span lines, within quotes; the `row`
of a record is the number of its first line, from 0. A row that is not CSV loses no other: reading
goes on where rows can be told again.
"""

import csv
import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, Literal, NamedTuple, Self

from pipeline.core.records import Fault, Place, Record, Reject
from pipeline.core.text import plural
from pipeline.reading.jsonl import BOM, CutText
from pipeline.reading.row_reader import RowReader

DELIMITERS = (",", ";", "\t")
"""Of a CSV file, in order: the first that its header has."""

_QUOTED = re.compile(rb'"[^"]*"?')
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
    feed, header = _Feed(_lines(chunks, limit), limit), None
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
            yield fault.at(place, feed.payload())
            if header is None:
                return


def _rows(feed: "_Feed", delimiter: str | None) -> Iterator[list[str] | Fault]:
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
            yield Fault("invalid_csv", f"{feed.span}: {_explained(error)}")
        except Fault as fault:
            feed.broken = "size" if fault.reason == "too_large" else None
            yield fault
        else:
            if any(map(str.strip, cells)):
                yield feed.fault or cells


class _Line(NamedTuple):
    number: int
    text: bytes  # with its end; of a line that is too long only the beginning
    quotes: int


def _lines(chunks: Iterable[bytes], limit: int) -> Iterator[_Line]:
    """Lines; the part of one beyond `limit` bytes is dropped while it is read."""
    number, line, quotes = 0, b"", 0
    try:
        for chunk in chunks:
            for i, piece in enumerate(chunk.split(b"\n")):
                if i:
                    yield _Line(number, line + b"\n", quotes)
                    number, line, quotes = number + 1, b"", 0
                quotes += piece.count(b'"')
                if len(line) <= limit:
                    line = (line + piece)[: limit + 1]
        if line:
            yield _Line(number, line + b"\n", quotes)
    except Fault as fault:
        raise CutText(fault, line) from fault


@dataclass(slots=True)
class _Feed:
    """Hands lines to the reader, which takes as many as a row needs, and finds the next row behind
    one that is broken.

    No line is handed out more than twice.
    """

    lines: Iterator[_Line]
    limit: int
    delimiter: str = ","
    signs: int = 0  # delimiters of a row without quotes
    row: list[_Line] = field(default_factory=list)  # the lines of the row that is being read
    again: deque[_Line] = field(default_factory=deque)
    first: int = 0  # the number of the first of them
    size: int = 0
    fault: Fault | None = None
    broken: Literal["quotes", "size"] | None = None
    has_ended: bool = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        line = self._next()
        if not self.row:
            self.first = line.number
        self.row.append(line)
        self.size += len(line.text)
        if self.size > self.limit + 1:
            said = f"{self.span}: the row is longer than {self.limit} bytes"
            raise Fault("too_large", f"{said} (input.max_record_bytes)")
        try:
            return (line.text if line.number else line.text.removeprefix(BOM)).decode()
        except UnicodeDecodeError as error:
            said = f"line {line.number + 1}: byte {error.start} is not UTF-8: {error.reason}"
            self.fault = self.fault or Fault("not_utf8", said)
            return line.text.decode(errors="replace")

    def _next(self) -> _Line:
        try:
            return self.again.popleft() if self.again else next(self.lines)
        except StopIteration:
            self.has_ended = True
            raise
        except Fault:
            self.first = self.first if self.row else self.first + 1
            raise

    @property
    def span(self) -> str:
        """The lines of the row, as an editor numbers them."""
        last = self.first + len(self.row)
        one = len(self.row) < 2
        return f"line {self.first + 1}" if one else f"lines {self.first + 1} to {last}"

    def payload(self) -> bytes:
        return b"".join(line.text for line in self.row)

    def found_delimiter(self) -> str:
        """The delimiter that the first line has outside quotes; that of CSV if it has none."""
        line = self._next()
        while not line.text.strip():
            line = self._next()
        self.again.appendleft(line)
        text = _QUOTED.sub(b"", line.text)
        return next((sign for sign in DELIMITERS if sign.encode() in text), DELIMITERS[0])

    def begin(self) -> None:
        """Goes to the next row: from a broken one, to where it ended or should have ended."""
        if self.broken:
            self._recover(self.broken, self.row[1:])
        self.row, self.size, self.fault, self.broken = [], 0, None, None

    def _recover(self, broken: Literal["quotes", "size"], later: list[_Line]) -> None:
        plain = list(takewhile(lambda line: not line.quotes, later))
        if plain and self.signs and all(map(self._is_row, plain)):
            self.again.extendleft(reversed(later))  # a quote too many has swallowed them
        elif broken == "size":
            self._skip_row()
        elif later and not self.has_ended:
            self.again.appendleft(later[-1])

    def _is_row(self, line: _Line) -> bool:
        signs = line.text.count(self.delimiter.encode())
        return signs == self.signs or not line.text.strip()

    def _skip_row(self) -> None:
        """Skips the rest of a row that is too long: up to where its quotes are closed."""
        quotes = sum(line.quotes for line in self.row)
        while quotes % 2:
            try:
                quotes += self._next().quotes
            except StopIteration:
                return


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
