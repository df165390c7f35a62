"""Turns a row with named columns into a record: of JSON, CSV or Parquet."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import orjson

from pipeline.core.extra import dump_extra
from pipeline.core.records import PLAIN, Fault, Message, Passage, Place, Record
from pipeline.reading.columns import OWN, Columns
from pipeline.reading.ids import as_id
from pipeline.reading.mojibake import repair_record

READY = ("prompt", "messages")
MOST_NAMES, NAME_CHARACTERS = 12, 40


def row_record(row: Any, place: Place, columns: Columns = OWN) -> Record:
    """The record in a row; raises `Fault` if a field is missing or has the wrong type."""
    if not isinstance(row, Mapping):
        raise Fault("wrong_type", f"a record must be an object, not {kind_of(row)}")
    fields = _Fields(row, columns)
    messages = _messages(fields)
    if not messages:
        fields.require("question")
        fields.require("passages")
    return repair_record(
        Record(
            record_id=fields.id("record_id") or f"{place.uri}#{place.row}",
            place=place,
            paper_id=fields.id("paper_id"),
            question_id=fields.id("question_id"),
            question=fields.text("question"),
            passages=_passages(fields),
            messages=messages,
            recorded_answer=fields.text("recorded_answer"),
            extra=_extra(row, columns),
        )
    )


def id_of(row: Any, columns: Columns = OWN) -> str | None:
    """The id for a row's reject, or None if the row has no valid one."""
    try:
        return _Fields(row, columns).id("record_id") if isinstance(row, Mapping) else None
    except Fault:
        return None


class _Fields:
    """Our fields in a row; a `Fault` names the user's column."""

    __slots__ = ("_get", "_of", "_row")

    def __init__(self, row: Mapping[str, Any], columns: Columns) -> None:
        self._row, self._of, self._get = row, columns.of, columns.getter(row)

    def id(self, field: str) -> str | None:
        for name in self._of(field):
            if id_ := as_id(self._get(name), name):
                return id_
        return None

    def text(self, field: str) -> str | None:
        for name in self._of(field):
            if (text := _as_text(self._get(name), name)) is not None:
                return text
        return None

    def items(self, field: str) -> tuple[str, Any]:
        """The name of a field's column, and its list, which may also be written as JSON."""
        name, value = self._one(field)
        if isinstance(value, str) and (items := listed(value)) is not None:
            value = items
        elif isinstance(value, str) and field == "passages":
            value = [value] if value.strip() else []
        if not isinstance(value, list | None):
            raise Fault("wrong_type", f"{name} must be a list, not {kind_of(value)}")
        return name, value or []

    def require(self, field: str) -> None:
        name, value = self._one(field)
        if _is_blank(value):
            raise _missing(self._row, name, field)

    def _one(self, field: str) -> tuple[str, Any]:
        """The column of a field that has but one, and its value."""
        for name in self._of(field):
            return name, self._get(name)
        return field, None


def listed(text: str) -> list[Any] | None:
    """The texts and objects of a list that is written as JSON, as cells of CSV have it.

    None for any other text, be it in brackets or not.
    """
    if text[:1] != "[" or text.rstrip()[-1:] != "]":
        return None
    try:
        items = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return items if all(isinstance(item, str | dict) for item in items) else None


def require(row: Mapping[str, Any], name: str) -> None:
    """Raises `Fault` for a row that has nothing in a column."""
    if _is_blank(row.get(name)):
        raise _missing(row, name)


def _is_blank(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _missing(row: Mapping[str, Any], name: str, field: str | None = None) -> Fault:
    """The fault of a row without the column `name`, which may be a job's for a field of ours."""
    wanted, hint = f'"{name}"', _like(name, row)
    if field and field != name:
        wanted += f" (input.fields.{field})"
    elif field and row and not hint:
        hint = f"; if one of these is it, name it: input.fields.{field}"
    return Fault("missing_field", f"no {wanted}; the record has {_columns(row)}{hint}")


def _columns(row: Mapping[str, Any]) -> str:
    """The names of what a row holds, as many as a line takes."""
    names = [str(name)[:NAME_CHARACTERS] for name, value in row.items() if value is not None]
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more or "no field"


def _like(name: str, row: Mapping[str, Any]) -> str:
    close = get_close_matches(name, set(map(str, row)) - {name}, n=1)
    return f"; did you mean {close[0][:NAME_CHARACTERS]!r}?" if close else ""


def _as_text(value: Any, place: str) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise Fault("wrong_type", f"{place} must be text, not {kind_of(value)}")


def _passages(fields: _Fields) -> tuple[Passage, ...]:
    name, values = fields.items("passages")
    return tuple(
        Passage(value) if isinstance(value, str) else _passage(value, f"{name}[{i}]")
        for i, value in enumerate(values)
    )


def _passage(value: Any, place: str) -> Passage:
    if not isinstance(value, Mapping):
        raise Fault("wrong_type", f"{place} must be text or an object, not {kind_of(value)}")
    text = _as_text(value.get("text"), f"{place}.text")
    if text is None:
        raise Fault("missing_field", f"{place} has no text")
    return Passage(text, _as_text(value.get("source"), f"{place}.source"))


def _messages(fields: _Fields) -> tuple[Message, ...]:
    prompt = fields.text("prompt")
    if prompt and prompt.strip():
        return (Message(PLAIN, prompt),)
    name, values = fields.items("messages")
    return tuple(_message(value, f"{name}[{i}]") for i, value in enumerate(values))


def _message(value: Any, place: str) -> Message:
    if not isinstance(value, Mapping):
        raise Fault(
            "wrong_type", f"{place} must be an object with role and content, not {kind_of(value)}"
        )
    for name in ("role", "content"):
        if value.get(name) is None:
            raise Fault("missing_field", f"{place} has no {name}")
    role = _as_text(value["role"], f"{place}.role") or ""
    return Message(role, text_of_content(value["content"], f"{place}.content"))


def text_of_content(value: Any, place: str) -> str:
    """The text of a message, which may be a list of text parts."""
    if not isinstance(value, list):
        return _as_text(value, place) or ""
    parts = []
    for i, part in enumerate(value):
        if not isinstance(part, Mapping) or not isinstance(part.get("text"), str):
            raise Fault("wrong_type", f"{place}[{i}] is not a text part; only text is supported")
        parts.append(part["text"])
    return "\n".join(parts)


def _extra(row: Mapping[str, Any], columns: Columns) -> dict[str, Any]:
    """The user's own columns, which a template can use; they must fit into JSON."""
    extra = columns.rest(row)
    try:
        dump_extra(extra)
    except TypeError as error:
        raise Fault(
            "wrong_type", f"{', '.join(extra)}: cannot be stored as JSON: {error}"
        ) from error
    return extra


def kind_of(value: Any) -> str:
    """What JSON calls the type of a value."""
    names = {dict: "an object", list: "a list", str: "text", bool: "a boolean", type(None): "null"}
    return names.get(type(value)) or (
        "a number" if isinstance(value, (int, float)) else type(value).__name__
    )
