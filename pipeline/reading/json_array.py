"""Reads a JSON document that is one array of records, with one record in memory at a time.

Elements are told apart by their brackets and quotes, and each is then read like a line of JSONL: it
may be as large, and its numbers and its faults are the same. Damage between the brackets of a
record loses that record; a bracket or a quote that is not closed loses the rest.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pipeline.core.records import Fault, Place, Record, Reject
from pipeline.reading.jsonl import BOM, CutText, checked, document_item
from pipeline.reading.row_reader import RowReader

_BLANK = b" \t\r\n"
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_TO_COMMA_OR_BRACKET = re.compile(rb'(?:[^"\[\]{},]++|' + _STRING + rb")*+", re.DOTALL)
_TO_BRACKET = re.compile(rb'(?:[^"\[\]{}]++|' + _STRING + rb")*+", re.DOTALL)
"""Whole strings are skipped; one that goes on in the next chunk ends the match."""

_OPENED_OVER_LINES = re.compile(rb"[^\n]*[\[{][ \t\r]*\n")
_STRING_REST = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)


def json_items(
    uri: str, chunks: Iterable[bytes], limit: int, rows: RowReader
) -> Iterator[Record | Reject]:
    """A record or a reject for every element of the array; `row` is its number from 0.

    Elements longer than `limit` bytes are rejects; `chunks` may split the document anywhere.
    """
    for row, element in _elements(chunks, limit):
        place = Place(uri, row)
        if isinstance(element, CutText):
            yield element.at(place, element.payload)
        elif text := element.strip(_BLANK):
            yield document_item(place, text, rows, "record")
        else:
            yield Fault("invalid_json", "a comma without a record").at(place, b"")


def is_one_document(head: bytes) -> bool:
    """Whether a JSON file that begins like this is one document, rather than one on each line."""
    text = head.removeprefix(BOM).lstrip(_BLANK)
    return text[:1] == b"[" or _OPENED_OVER_LINES.match(text) is not None


def _elements(chunks: Iterable[bytes], limit: int) -> Iterator[tuple[int, bytes | CutText]]:
    """Numbered elements. The part of one beyond `limit` bytes is dropped while it is read."""
    row, element, scanner = 0, b"", _Scanner()
    has_begun = has_ended = False
    try:
        for chunk in _behind_bracket(chunks):
            has_begun, at = True, 0
            while at < len(chunk) and not has_ended:
                begin, (at, sign) = at, scanner.next_end(chunk, at)
                if len(element) <= limit:
                    element = (element + chunk[begin : at - len(sign)])[: limit + 1]
                has_ended = sign == b"]"
                if sign and (row or sign == b"," or element.strip(_BLANK)):
                    yield row, checked(element, limit, "record")
                    row += 1
                element = b"" if sign else element
            if has_ended and chunk[at:].strip(_BLANK):
                raise CutText(
                    Fault("invalid_json", "more follows the array; a document is one array"),
                    chunk[at:],
                )
        if has_begun and not has_ended:
            raise Fault("invalid_json", "the document ends within its array")
    except Fault as fault:
        yield row, fault if isinstance(fault, CutText) else CutText(fault, element)


def _behind_bracket(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The document behind its first bracket; raises `Fault` if it is no array."""
    source, head = iter(chunks), b""
    for chunk in source:
        head += chunk
        if len(head) < len(BOM) and BOM.startswith(head):
            continue
        head = head.removeprefix(BOM).lstrip(_BLANK)
        if head[:1] == b"[":
            yield head[1:]
            yield from source
        elif head:
            raise CutText(_no_array(head), head)


@dataclass(slots=True)
class _Scanner:
    """Where in an array its bytes stand, chunk after chunk."""

    depth: int = 0  # of brackets within an element
    in_string: bool = False
    is_escaped: bool = False  # the next byte, in a string

    def next_end(self, chunk: bytes, at: int) -> tuple[int, bytes]:
        """The place behind the sign that ends an element, and the sign: `,`, or `]` of the array.

        The end of the chunk and no sign, if none of its elements ends in it from `at` on.
        """
        while True:
            if self.in_string:
                at = self._behind_string(chunk, at)
            quiet = (_TO_BRACKET if self.depth else _TO_COMMA_OR_BRACKET).match(chunk, at)
            at = quiet.end() if quiet else at
            if at >= len(chunk):
                return len(chunk), b""
            sign, at = chunk[at : at + 1], at + 1
            if self._is_end(sign):
                return at, sign

    def _is_end(self, sign: bytes) -> bool:
        if sign == b'"':
            self.in_string = True
        elif sign in b"[{":
            self.depth += 1
        elif self.depth and sign in b"]}":
            self.depth -= 1
        else:
            return self.depth == 0 and sign != b"}"
        return False

    def _behind_string(self, chunk: bytes, at: int) -> int:
        """The place behind a string, or behind the part of it that is in the chunk."""
        if self.is_escaped:
            at, self.is_escaped = at + 1, False
        rest = _STRING_REST.match(chunk, at)
        end = rest.end() if rest else at
        self.is_escaped = chunk[end : end + 1] == b"\\"
        self.in_string = end >= len(chunk) or self.is_escaped
        return end + 1


def _no_array(text: bytes) -> Fault:
    """The fault of a document that is no array, told from its first bytes."""
    if text[:1] == b"{":
        return Fault(
            "invalid_json",
            "the document is one object, not an array of records; write the array alone, or each "
            "record on a line of its own (input.format: jsonl)",
        )
    if text[:1].isascii():
        return Fault("invalid_json", "the document is no array of records: it begins with no [")
    return Fault("not_utf8", "the document is no array of records: it begins with no [")
