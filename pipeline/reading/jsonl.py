"""Reads JSON Lines into records, with one record in memory at a time."""

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import orjson

from pipeline.core.records import Fault, Place, Record, Reject
from pipeline.reading.openai_batch import any_id

_BOM = b"\xef\xbb\xbf"
_INTEGERS = range(-(2**63), 2**64)
"""Whole numbers that orjson reads as such; it makes floats of all others."""

_DEPTH = 256
"""Of values; deeper ones are rejects anyway."""


def jsonl_items(
    uri: str, chunks: Iterable[bytes], limit: int, parse: Callable[[Any, Place], Record]
) -> Iterator[Record | Reject]:
    """A record or a reject for every line that is not blank; `row` is the line number from 0.

    Lines longer than `limit` bytes are rejects; `chunks` may split lines anywhere.
    """
    for row, line in _lines(chunks, limit):
        place = Place(uri, row)
        if isinstance(line, _CutLine):
            yield line.at(place, line.payload)
        elif text := (line if row else line.removeprefix(_BOM)).strip():
            yield _item(place, text, parse)


def _item(place: Place, line: bytes, parse: Callable[[Any, Place], Record]) -> Record | Reject:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return _undecodable(line, error).at(place, line)
    item = _parsed(place, line, row, parse)
    if _has_large_float(item.extra if isinstance(item, Record) else row):
        return _parsed(place, line, _exact(line, row), parse)
    return item


def _parsed(
    place: Place, line: bytes, row: Any, parse: Callable[[Any, Place], Record]
) -> Record | Reject:
    try:
        return parse(row, place)
    except Fault as fault:
        return fault.at(place, line, any_id(row))


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


def _undecodable(line: bytes, error: orjson.JSONDecodeError) -> Fault:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError as fault:
        return Fault("not_utf8", f"byte {fault.start} of the line is not UTF-8: {fault.reason}")
    return Fault("invalid_json", f"the line is not one JSON document: {error}")


class _CutLine(Fault):
    """A line that could not be read to its end, with its beginning."""

    def __init__(self, fault: Fault, payload: bytes) -> None:
        super().__init__(fault.reason, fault.detail)
        self.payload = payload


def _lines(chunks: Iterable[bytes], limit: int) -> Iterator[tuple[int, bytes | _CutLine]]:
    """Numbered lines. The part of a line beyond `limit` bytes is dropped while it is read."""
    row, line = 0, b""
    try:
        for chunk in chunks:
            for i, piece in enumerate(chunk.split(b"\n")):
                if i:
                    yield row, _checked(line, limit)
                    row, line = row + 1, b""
                if len(line) <= limit:
                    line = (line + piece)[: limit + 1]
        if line:
            yield row, _checked(line, limit)
    except Fault as fault:
        yield row, _CutLine(fault, line)


def _checked(line: bytes, limit: int) -> bytes | _CutLine:
    if len(line) <= limit:
        return line
    return _CutLine(
        Fault("too_large", f"the line is longer than {limit} bytes (input.max_record_bytes)"), line
    )
