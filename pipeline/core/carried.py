"""The user's own columns that stand beside an answer: `output.carry`.

A name is that of a column, or leads into objects by dots (`venue.name`). Carried columns are stored
as one JSON object under the names that the job gives them, in its order.
"""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import orjson

from pipeline.core.dotted import keys_to, value_at
from pipeline.core.extra import dump_extra

Carry: TypeAlias = tuple[str, ...] | Literal["all"]
"""Names of columns, or all that a record has."""

NOTHING: Carry = ()


def carried(extra: Mapping[str, Any], carry: Carry) -> Mapping[str, Any]:
    """The carried columns that a record has, by name."""
    if carry == "all":
        return extra
    found = ((name, keys_to(extra, name)) for name in carry)
    return {name: value_at(extra, keys) for name, keys in found if keys}


def carried_json(extra: Mapping[str, Any], carry: Carry) -> str | None:
    """The same as JSON, or None if there are none."""
    data = dump_extra(carried(extra, carry)) if carry else None
    return data.decode() if data else None


def comparable(extra: Mapping[str, Any], carry: Carry) -> bytes:
    """The same as bytes that are equal for equal columns, in whatever order they stand."""
    return dump_extra(carried(extra, carry), orjson.OPT_SORT_KEYS) or b""


def columns_of(stored: str | bytes | None) -> dict[str, Any]:
    """The columns in a cell of `extra`."""
    return orjson.loads(stored) if stored else {}


def as_json(value: Any) -> str:
    """One value of a carried column as JSON."""
    return orjson.dumps(value).decode()


def lines_about(records: Mapping[str, int]) -> list[str]:
    """What a person should know of carried columns, from how many records have each."""
    absent = [name for name, count in records.items() if not count]
    return [
        f"output.carry: no record has {', '.join(absent)}; correct the name, or leave it out"
    ] * bool(absent)
