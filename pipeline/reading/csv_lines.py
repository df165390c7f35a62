"""Hands the lines of a CSV file to its reader, and finds the next row behind a broken one."""

import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Self

from pipeline.core.records import Fault
from pipeline.reading.jsonl import BOM, CutText

DELIMITERS = (",", ";", "\t")
"""Of a CSV file, in order: the first that its header has."""

_QUOTED = re.compile(rb'"[^"]*"?')


class Line(NamedTuple):
    number: int
    text: bytes  # with its end; of a line that is too long only the beginning
    quotes: int


def lines_in(chunks: Iterable[bytes], limit: int) -> Iterator[Line]:
    """Lines; the part of one beyond `limit` bytes is dropped while it is read."""
    number, line, quotes = 0, b"", 0
    try:
        for chunk in chunks:
            for i, piece in enumerate(chunk.split(b"\n")):
                if i:
                    yield Line(number, line + b"\n", quotes)
                    number, line, quotes = number + 1, b"", 0
                quotes += piece.count(b'"')
                if len(line) <= limit:
                    line = (line + piece)[: limit + 1]
        if line:
            yield Line(number, line + b"\n", quotes)
    except Fault as fault:
        raise CutText(fault, line) from fault


@dataclass(slots=True)
class RowLines:
    """Hands lines to the reader, which takes as many as a row needs, and finds the next row behind
    one that is broken.

    No line is handed out more than twice.
    """

    lines: Iterator[Line]
    limit: int
    delimiter: str = ","
    signs: int = 0  # delimiters of a row without quotes
    row: list[Line] = field(default_factory=list)  # the lines of the row that is being read
    again: deque[Line] = field(default_factory=deque)
    first: int = 0  # the number of the first of them
    following: int = 0  # the number of the line behind the last that was taken
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

    def _next(self) -> Line:
        try:
            line = self.again.popleft() if self.again else next(self.lines)
        except StopIteration:
            self.has_ended = True
            raise
        except Fault:
            self.first = self.first if self.row else self.following
            raise
        self.following = line.number + 1
        return line

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

    def _recover(self, broken: Literal["quotes", "size"], later: list[Line]) -> None:
        between = later[:-1] if broken == "quotes" and not self.has_ended else later
        if between and self.signs and all(map(self._is_plain_row, between)):
            self.again.extendleft(reversed(later))  # a quote too many has swallowed them
        elif broken == "size":
            self._skip_row()
        elif later and not self.has_ended:
            self.again.appendleft(later[-1])

    def _is_plain_row(self, line: Line) -> bool:
        if line.quotes:
            return False
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
