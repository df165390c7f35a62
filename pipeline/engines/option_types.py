"""Types of values in a job file, as another program's source declares them.

A type takes a value in the way of Pydantic, which vLLM uses: `"0.9"` is a number, `1` is true. It
returns the value in its own type, or raises `Mismatch`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from operator import ge, gt, le, lt
from typing import Any, ClassVar, Literal, Protocol

from pipeline.core.errors import nearest

QUOTED_CHARACTERS = 80

_TRUE = {"1", "on", "t", "true", "y", "yes"}
_FALSE = {"0", "off", "f", "false", "n", "no"}


@cache
def has_plugins() -> bool:
    """Whether packages beside vLLM add to it: methods of quantization, formats, executors."""
    plugins = entry_points(group="vllm.general_plugins")
    return any(not plugin.value.startswith("vllm.") for plugin in plugins)


class Mismatch(Exception):
    """A value is not of a type; `keys` lead to the part of it that is not."""

    def __init__(self, said: str, keys: tuple[str, ...] = ()) -> None:
        super().__init__(said)
        self.said, self.keys = said, keys

    def below(self, key: object) -> "Mismatch":
        return Mismatch(self.said, (str(key), *self.keys))


class Type(Protocol):
    @property
    def name(self) -> str:
        """What a message says that a value must be."""

    def fit(self, value: Any, exact: bool = False) -> Any:
        """The value in this type, without any conversion if `exact`; raises `Mismatch`."""


@dataclass(frozen=True, slots=True)
class Anything:
    """What cannot be read from the source."""

    name: ClassVar[str] = "anything"

    def fit(self, value: Any, exact: bool = False) -> Any:
        return value


@dataclass(frozen=True, slots=True)
class Nothing:
    """A type that no value of a job file has: a class, a function."""

    name: ClassVar[str] = ""

    def fit(self, value: Any, exact: bool = False) -> Any:
        raise _mismatch(value, "no value of a job file")


@dataclass(frozen=True, slots=True)
class Null:
    name: ClassVar[str] = "null"

    def fit(self, value: Any, exact: bool = False) -> Any:
        if value is None:
            return None
        raise _mismatch(value, self.name)


@dataclass(frozen=True, slots=True)
class Text:
    name: ClassVar[str] = "text"

    def fit(self, value: Any, exact: bool = False) -> Any:
        if isinstance(value, str):
            return value
        raise _mismatch(value, self.name)


@dataclass(frozen=True, slots=True)
class Truth:
    name: ClassVar[str] = "true or false"

    def fit(self, value: Any, exact: bool = False) -> Any:
        if isinstance(value, bool):
            return value
        if not exact and isinstance(value, str) and value.lower() in _TRUE | _FALSE:
            return value.lower() in _TRUE
        if not exact and isinstance(value, int | float) and value in (0, 1):
            return bool(value)
        raise _mismatch(value, self.name)


@dataclass(frozen=True, slots=True)
class Number:
    """A number; unlike for Pydantic, `true` is none."""

    kind: Literal["int", "float"]

    @property
    def name(self) -> str:
        return "a whole number" if self.kind == "int" else "a number"

    def fit(self, value: Any, exact: bool = False) -> Any:
        if type(value) is int:
            return value if self.kind == "int" else float(value)
        if isinstance(value, float) and self.kind == "float":
            return value
        if not exact and isinstance(value, float) and value.is_integer():
            return int(value)
        if not exact and isinstance(value, str):
            try:
                return int(value) if self.kind == "int" else float(value)
            except ValueError:
                pass
        raise _mismatch(value, self.name)


_OPERATORS: Mapping[str, tuple[Callable[[Any, Any], bool], str]] = {
    "ge": (ge, "at least"),
    "gt": (gt, "above"),
    "le": (le, "at most"),
    "lt": (lt, "below"),
}
LIMITS = frozenset(_OPERATORS)


@dataclass(frozen=True, slots=True)
class Limited:
    """A number within limits: pairs of one of `LIMITS` and a number."""

    inner: Number
    limits: tuple[tuple[str, float], ...]

    @property
    def name(self) -> str:
        said = " and ".join(f"{_OPERATORS[kind][1]} {limit:g}" for kind, limit in self.limits)
        return f"{self.inner.name} {said}"

    def fit(self, value: Any, exact: bool = False) -> Any:
        fitted = self.inner.fit(value, exact)
        if all(_OPERATORS[kind][0](fitted, limit) for kind, limit in self.limits):
            return fitted
        raise _mismatch(value, self.name)


@dataclass(frozen=True, slots=True)
class Choice:
    """One of some values; `is_loose` if upper and lower case and `-` and `_` are alike.

    If `is_open`, also the path of a class (`module.Class`), and any text where plugins may have
    brought it.
    """

    values: tuple[str | int | None, ...]
    is_loose: bool = False
    is_open: bool = False

    @property
    def name(self) -> str:
        return f"one of {', '.join(map(str, self.values))}"

    def fit(self, value: Any, exact: bool = False) -> Any:
        if any(type(value) is type(known) and value == known for known in self.values):
            return value
        if self.is_loose and isinstance(value, str) and _plain(value) in map(_plain, self.values):
            return value
        if self.is_open and isinstance(value, str) and ("." in value or has_plugins()):
            return value
        raise Mismatch(f"{_quoted(value)} is not {self.name}{self._nearest(value)}")

    def _nearest(self, value: Any) -> str:
        known = [item for item in self.values if isinstance(item, str)]
        near = nearest(value, known) if isinstance(value, str) else ""
        return near if "did you mean" in near else ""


@dataclass(frozen=True, slots=True)
class ListOf:
    item: Type

    @property
    def name(self) -> str:
        return f"a list ({self.item.name})"

    def fit(self, value: Any, exact: bool = False) -> Any:
        if not isinstance(value, Sequence) or isinstance(value, str | bytes):
            raise _mismatch(value, self.name)
        return [_fit_below(n, self.item, item, exact) for n, item in enumerate(value)]


@dataclass(frozen=True, slots=True)
class MappingOf:
    value: Type
    name: ClassVar[str] = "a mapping"

    def fit(self, value: Any, exact: bool = False) -> Any:
        if not isinstance(value, Mapping):
            raise _mismatch(value, self.name)
        return {key: _fit_below(key, self.value, item, exact) for key, item in value.items()}


@dataclass(frozen=True, slots=True)
class Fields:
    """A mapping with these keys."""

    types: Mapping[str, Type] = field(hash=False)
    name: ClassVar[str] = "a mapping"

    def fit(self, value: Any, exact: bool = False) -> Any:
        if not isinstance(value, Mapping):
            raise _mismatch(value, self.name)
        for key in value:
            if key not in self.types:
                raise Mismatch(f"unknown{nearest(str(key), self.types)}", (str(key),))
        return {key: _fit_below(key, self.types[key], v, exact) for key, v in value.items()}


@dataclass(frozen=True, slots=True)
class OneOf:
    options: tuple[Type, ...]

    @property
    def name(self) -> str:
        return " or ".join(option.name for option in self.options if option.name)

    def fit(self, value: Any, exact: bool = False) -> Any:
        mismatches: list[Mismatch] = []
        for strictly in (True,) if exact else (True, False):
            for option in self.options:
                try:
                    return option.fit(value, strictly)
                except Mismatch as mismatch:
                    mismatches.append(mismatch)
        inner = [m for m in mismatches if m.keys or "did you mean" in m.said]
        raise inner[-1] if inner else _mismatch(value, self.name)


def _fit_below(key: object, type_: Type, value: Any, exact: bool) -> Any:
    try:
        return type_.fit(value, exact)
    except Mismatch as mismatch:
        raise mismatch.below(key) from None


def _mismatch(value: Any, name: str) -> Mismatch:
    return Mismatch(f"{_quoted(value)} is not {name}")


def _quoted(value: Any) -> str:
    if value is None or isinstance(value, bool):  # as YAML has them
        return "null" if value is None else str(value).lower()
    text = repr(value)
    return text[:QUOTED_CHARACTERS] + "…" * (len(text) > QUOTED_CHARACTERS)


def _plain(value: object) -> str:
    return str(value).lower().replace("-", "_")


def parts_of(type_: Type) -> tuple[Type, ...]:
    """The types of a union; a type that is none is its only part."""
    return type_.options if isinstance(type_, OneOf) else (type_,)


def either(options: Iterable[Type]) -> Type:
    """The union of types, flat; what may be anything needs no others."""
    flat = [part for option in options for part in parts_of(option)]
    if any(isinstance(option, Anything) for option in flat):
        return Anything()
    different = [option for n, option in enumerate(flat) if option not in flat[:n]]
    return different[0] if len(different) == 1 else OneOf(tuple(different))
