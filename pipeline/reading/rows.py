"""Turns a JSON line or a Parquet row into a record."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from pipeline.core.arrow import dump_extra
from pipeline.core.records import PLAIN, Fault, Message, Passage, Place, Record
from pipeline.reading.ids import as_id
from pipeline.reading.mojibake import repair_record

ID_FIELDS = ("record_id", "id", "custom_id")
ANSWER_FIELDS = ("recorded_answer", "answer", "completion")
_NEEDED, READY = ("question", "passages"), ("prompt", "messages")
MOST_NAMES, NAME_CHARACTERS = 12, 40
_RECORD_FIELDS = {*ID_FIELDS, *ANSWER_FIELDS, *_NEEDED, *READY, "paper_id", "question_id"}


def row_record(row: Any, place: Place) -> Record:
    """The record in a row; raises `Fault` if a field is missing or has the wrong type."""
    if not isinstance(row, Mapping):
        raise Fault("wrong_type", f"a record must be an object, not {kind_of(row)}")
    messages = _messages(row)
    if not messages:
        require(row, *_NEEDED)
    return repair_record(
        Record(
            record_id=_first_id(row) or f"{place.uri}#{place.row}",
            place=place,
            paper_id=_id(row, "paper_id"),
            question_id=_id(row, "question_id"),
            question=_text(row, "question"),
            passages=_passages(row),
            messages=messages,
            recorded_answer=_first_text(row, ANSWER_FIELDS),
            extra=_extra(row),
        )
    )


def id_of(row: Any) -> str | None:
    """The id for a row's reject, or None if the row has no valid one."""
    try:
        return _first_id(row) if isinstance(row, Mapping) else None
    except Fault:
        return None


def require(row: Mapping[str, Any], *names: str) -> None:
    for name in names:
        value = row.get(name)
        if value is None or (isinstance(value, str) and not value.strip()):
            held = f"the record has {_columns(row)}{_like(name, row)}"
            raise Fault("missing_field", f'no "{name}"; {held}')


def _columns(row: Mapping[str, Any]) -> str:
    """The names of what a row holds, as many as a line takes."""
    names = [str(name)[:NAME_CHARACTERS] for name, value in row.items() if value is not None]
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more or "no field"


def _like(name: str, row: Mapping[str, Any]) -> str:
    close = get_close_matches(name, set(map(str, row)) - {name}, n=1)
    return f"; did you mean {close[0][:NAME_CHARACTERS]!r}?" if close else ""


def _first_id(row: Mapping[str, Any]) -> str | None:
    return next((id_ for name in ID_FIELDS if (id_ := _id(row, name))), None)


def _id(row: Mapping[str, Any], name: str) -> str | None:
    return as_id(row.get(name), name)


def _first_text(row: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    return next((text for name in names if (text := _text(row, name)) is not None), None)


def _text(row: Mapping[str, Any], name: str) -> str | None:
    return _as_text(row.get(name), name)


def _as_text(value: Any, place: str) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise Fault("wrong_type", f"{place} must be text, not {kind_of(value)}")


def _passages(row: Mapping[str, Any]) -> tuple[Passage, ...]:
    return tuple(
        _passage(value, f"passages[{i}]") for i, value in enumerate(_list(row, "passages"))
    )


def _passage(value: Any, place: str) -> Passage:
    if isinstance(value, str):
        return Passage(value)
    if not isinstance(value, Mapping):
        raise Fault("wrong_type", f"{place} must be text or an object, not {kind_of(value)}")
    text = _as_text(value.get("text"), f"{place}.text")
    if text is None:
        raise Fault("missing_field", f"{place} has no text")
    return Passage(text, _as_text(value.get("source"), f"{place}.source"))


def _messages(row: Mapping[str, Any]) -> tuple[Message, ...]:
    prompt = _text(row, "prompt")
    if prompt and prompt.strip():
        return (Message(PLAIN, prompt),)
    return tuple(
        _message(value, f"messages[{i}]") for i, value in enumerate(_list(row, "messages"))
    )


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


def _extra(row: Mapping[str, Any]) -> dict[str, Any]:
    """All other columns, which a template can use; they must fit into JSON."""
    extra = {str(k): v for k, v in row.items() if k not in _RECORD_FIELDS}
    try:
        dump_extra(extra)
    except TypeError as error:
        raise Fault(
            "wrong_type", f"{', '.join(extra)}: cannot be stored as JSON: {error}"
        ) from error
    return extra


def _list(row: Mapping[str, Any], name: str) -> list[Any]:
    value = row.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise Fault("wrong_type", f"{name} must be a list, not {kind_of(value)}")
    return value


def kind_of(value: Any) -> str:
    """What JSON calls the type of a value."""
    names = {dict: "an object", list: "a list", str: "text", bool: "a boolean", type(None): "null"}
    return names.get(type(value)) or (
        "a number" if isinstance(value, (int, float)) else type(value).__name__
    )
