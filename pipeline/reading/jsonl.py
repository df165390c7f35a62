"""Reads JSON Lines into records, with one record in memory at a time."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from pipeline.core.records import Fault, Place, Record, Reject
from pipeline.reading.row_reader import RowReader

BOM = b"\xef\xbb\xbf"
_INTEGERS = range(-(2**63), 2**64)
"""Whole numbers that orjson reads as such; it makes floats of all others."""

_DEPTH = 256
"""Of values; deeper ones are rejects anyway."""


def jsonl_items(
    uri: str, chunks: Iterable[bytes], limit: int, rows: RowReader
) -> Iterator[Record | Reject]:
    """A record or a reject for every line that is not blank; `row` is the line number from 0.

    Lines longer than `limit` bytes are rejects; `chunks` may split lines anywhere.
    """
    for row, line in _lines(chunks, limit):
        place = Place(uri, row)
        if isinstance(line, CutText):
            yield line.at(place, line.payload)
        elif text := (line if row else line.removeprefix(BOM)).strip():
            yield document_item(place, text, rows, "line")


def document_item(place: Place, text: bytes, rows: RowReader, what: str) -> Record | Reject:
    """The record or the reject of one JSON document, `what` it is called in messages."""
    try:
        row = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        return _undecodable(text, error, what).at(place, text)
    item = rows.item(row, place, lambda: text)
    if _has_large_float(item.extra if isinstance(item, Record) else row):
        return rows.item(_exact(text, row), place, lambda: text)
    return item


def _has_large_float(value: Any, depth: int = 0) -> bool:
    """Whether a value holds what may have been a whole number beyond 64 bits."""
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list):
        return isinstance(value, float) and abs(value) >= _INTEGERS.stop / 2
    return depth < _DEPTH and any(_has_large_float(item, depth + 1) for item in value)


def _exact(line: bytes, row: Any) -> Any:
    """The row with whole numbers beyond 64 bits as text, which keeps all their digits."""
    try:
        return json.loads(line, parse_int=_integer)
    except (RecursionError, ValueError):  # nested too deep, or a number of thousands of digits
        return row


def _integer(digits: str) -> int | str:
    number = int(digits)
    return number if number in _INTEGERS else digits


def _undecodable(text: bytes, error: orjson.JSONDecodeError, what: str) -> Fault:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError as fault:
        return Fault("not_utf8", f"byte {fault.start} of the {what} is not UTF-8: {fault.reason}")
    return Fault("invalid_json", f"the {what} is not one JSON document: {error}")


class CutText(Fault):
    """The fault of a text that could not be read to its end, with its beginning."""

    def __init__(self, fault: Fault, payload: bytes) -> None:
        super().__init__(fault.reason, fault.detail)
        self.payload = payload


def _lines(chunks: Iterable[bytes], limit: int) -> Iterator[tuple[int, bytes | CutText]]:
    """Numbered lines. The part of a line beyond `limit` bytes is dropped while it is read."""
    row, line = 0, b""
    try:
        for chunk in chunks:
            for i, piece in enumerate(chunk.split(b"\n")):
                if i:
                    yield row, checked(line, limit, "line")
                    row, line = row + 1, b""
                if len(line) <= limit:
                    line = (line + piece)[: limit + 1]
        if line:
            yield row, checked(line, limit, "line")
    except Fault as fault:
        yield row, CutText(fault, line)


def checked(text: bytes, limit: int, what: str) -> bytes | CutText:
    """The text, or its fault if it is longer than `limit` bytes."""
    if len(text) <= limit:
        return text
    said = f"the {what} is longer than {limit} bytes (input.max_record_bytes)"
    return CutText(Fault("too_large", said), text)
