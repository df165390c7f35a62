"""Reads ids: text, whole numbers of any size and type, and UUIDs."""

from decimal import Decimal
from typing import Any
from uuid import UUID

from pipeline.core.records import Fault


def as_id(value: Any, name: str) -> str | None:
    """An id as text, or None if there is none; raises `Fault` for a value that names nothing.

    A float is refused: it holds no more than 15 digits exactly.
    """
    if value is None or isinstance(value, str):
        return value or None
    if isinstance(value, bytes):
        return _text_in(value, name)
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool) and _is_whole(value):
        return str(int(value))
    raise Fault(
        "wrong_type", f"{name} must be text, a whole number or a UUID, not {_described(value)}"
    )


def _is_whole(value: int | Decimal) -> bool:
    return isinstance(value, int) or (value.is_finite() and value == value.to_integral_value())


def _text_in(value: bytes, name: str) -> str | None:
    try:
        return value.decode("utf-8") or None
    except UnicodeDecodeError:
        raise Fault(
            "wrong_type",
            f"{name} is binary and no UTF-8 text; store it as text, or mark its column as UUID",
        ) from None


def _described(value: Any) -> str:
    """A value's type, and how it becomes an id if it is a number."""
    if isinstance(value, float):
        return (
            f"the float {value!r}, which loses digits of large numbers; store the column as text "
            "or as integers (pandas: Int64, if some are missing)"
        )
    if isinstance(value, Decimal):
        return f"the decimal {value}; store the column as text"
    kinds = {dict: "an object", list: "a list", bool: "a boolean"}
    return kinds.get(type(value), type(value).__name__)
