"""Turns a line of an OpenAI batch file into a record."""

from collections.abc import Mapping
from typing import Any

from pipeline.core.records import Fault, Place, Record
from pipeline.reading.rows import READY, kind_of, require, row_record


def any_record(row: Any, place: Place) -> Record:
    """The record in a row or in a line of a batch file; raises `Fault` like `row_record`."""
    if isinstance(row, Mapping) and isinstance(row.get("body"), Mapping) and "custom_id" in row:
        return batch_record(row, place)
    return row_record(row, place)


def batch_record(row: Any, place: Place) -> Record:
    """The record in a line of an OpenAI batch file, which must have a body."""
    if not isinstance(row, Mapping):
        raise Fault("wrong_type", f"a batch line must be an object, not {kind_of(row)}")
    require(row, "custom_id", "body")
    if not isinstance(row["body"], Mapping):
        raise Fault("wrong_type", f"body must be an object, not {kind_of(row['body'])}")
    return row_record(_batch_row(row), place)


def _batch_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A batch line as a row, with the request's prompt or messages as fields of their own."""
    body = row["body"]
    prompt = {name: body[name] for name in READY if name in body}
    settings = {name: value for name, value in body.items() if name not in prompt}
    return {**{k: v for k, v in row.items() if k != "body"}, **prompt, "body": settings}
