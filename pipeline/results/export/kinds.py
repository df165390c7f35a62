"""What the values of a carried column are, and the type of the column that holds them all.

Numbers, booleans and text stay what they are, and so do lists of one of these. A column of several
kinds, and one with objects, is text: texts as they are, all else as JSON.
"""

from collections.abc import Sequence
from functools import reduce
from typing import Any, Literal, NamedTuple, TypeAlias

import pyarrow as pa

from pipeline.core.carried import as_json

Scalar: TypeAlias = Literal["null", "boolean", "whole", "long", "number", "text", "mixed"]
"""A `whole` number is exact as a float, too; a `long` one only as an integer of 64 bits."""

EXACT = 2**53
LONG = 2**63

_TYPES: dict[Scalar, pa.DataType] = {
    "null": pa.string(),
    "boolean": pa.bool_(),
    "whole": pa.int64(),
    "long": pa.int64(),
    "number": pa.float64(),
    "text": pa.string(),
    "mixed": pa.string(),
}
_WIDER: dict[frozenset[Scalar], Scalar] = {
    frozenset({"whole", "long"}): "long",
    frozenset({"whole", "number"}): "number",
}
_OF_TYPES: dict[type, Scalar] = {
    type(None): "null",
    bool: "boolean",
    float: "number",
    str: "text",
}


class Kind(NamedTuple):
    """What values are, or the items of lists."""

    scalar: Scalar
    is_list: bool = False

    @property
    def type(self) -> pa.DataType:
        type_ = _TYPES[self.scalar]
        return pa.list_(type_) if self.is_list else type_

    def array(self, values: Sequence[Any]) -> pa.Array:
        """Values as a column; raises `pa.ArrowException` for one of another kind."""
        if self == MIXED:
            return pa.array([_text(v) for v in values], self.type)
        return pa.array(values, self.type)


NULL, MIXED = Kind("null"), Kind("mixed")


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else as_json(value)


def kind_of(value: Any) -> Kind:
    if isinstance(value, list):
        items = reduce(common, map(kind_of, value), NULL)
        return MIXED if items.is_list or items == MIXED else Kind(items.scalar, is_list=True)
    if isinstance(value, int) and not isinstance(value, bool):
        if -EXACT <= value <= EXACT:
            return Kind("whole")
        return Kind("long") if -LONG <= value < LONG else MIXED
    return Kind(_OF_TYPES.get(type(value), "mixed"))


def common(one: Kind, other: Kind) -> Kind:
    """The kind of a column that holds both."""
    if one == other or other == NULL:
        return one
    if one == NULL:
        return other
    scalar = _common(one.scalar, other.scalar)
    is_mixed = one.is_list != other.is_list or scalar == "mixed"
    return MIXED if is_mixed else Kind(scalar, one.is_list)


def _common(one: Scalar, other: Scalar) -> Scalar:
    if one == other or other == "null":
        return one
    return other if one == "null" else _WIDER.get(frozenset({one, other}), "mixed")
