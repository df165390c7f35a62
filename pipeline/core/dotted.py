"""Dotted names of columns: `result.contexts` is the entry `contexts` of the object `result`."""

from collections.abc import Mapping
from typing import Any


def keys_to(row: Mapping[str, Any], name: str) -> tuple[str, ...] | None:
    """The keys that lead to a column, one for each object on the way; None if the row has none.

    A column whose own name has the dot comes before one that is reached through objects.
    """
    if name in row:
        return (name,)
    end = name.rfind(".")
    while end > 0:
        inner = row.get(name[:end])
        if isinstance(inner, Mapping) and (rest := keys_to(inner, name[end + 1 :])):
            return (name[:end], *rest)
        end = name.rfind(".", 0, end)
    return None


def value_at(row: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
    """What keys of `keys_to` lead to."""
    value: Any = row
    for key in keys:
        value = value[key]
    return value


def without(row: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    """The row less the column that keys of `keys_to` lead to, and less objects left empty by it."""
    first, *rest = keys
    inner = without(row[first], tuple(rest)) if rest else {}
    if inner:
        return {**row, first: inner}
    return {name: value for name, value in row.items() if name != first}
