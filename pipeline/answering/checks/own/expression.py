"""A check that the job file declares: an expression over an answer and its record.

It is written in CEL, the Common Expression Language, which has no loops without an end and reaches
nothing but its variables. Types and names are checked before anything starts.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pipeline.answering.checks.base import Finding, Subject, quote
from pipeline.config.checks import ExpressionCheck
from pipeline.core.errors import ConfigError, describe, nearest
from pipeline.core.records import Ask

VARIABLES: Mapping[str, tuple[str, Callable[[Subject], Any]]] = {
    "answer": ("string", lambda s: s.answer),
    "words": ("int", lambda s: s.word_count),
    "fields": ("map<string, dyn>", lambda s: s.fields),
    "question": ("string", lambda s: s.question or ""),
    "passages": ("list<string>", lambda s: [passage.text for passage in s.passages]),
    "extra": ("map<string, dyn>", lambda s: s.extra),
    "reasoning": ("string", lambda s: s.reasoning),
    "finish_reason": ("string", lambda s: s.finish_reason or ""),
}
"""The type of every variable in CEL, and its value."""

_COLUMN = re.compile(r"""\bextra\b(?:\s*\.\s*(\w+)|\s*\[\s*(?:"([^"\\]+)"|'([^'\\]+)')\s*\])?""")
_UNDECLARED = re.compile(r"undeclared reference to '(\w+)'")
_POSITION = re.compile(r"ERROR: <input>:(\d+):(\d+): (.*)")


@dataclass(frozen=True, slots=True)
class ExpressionTest:
    expression: str
    ask: str | None

    @classmethod
    def of(cls, name: str, check: ExpressionCheck) -> "ExpressionTest":
        """Raises `ConfigError` for a wrong expression, or one that is neither true nor false."""
        place = f"checks.{name}.expression"
        try:
            gives = _compiled(check.expression).return_type().name()
        except (RuntimeError, ValueError) as error:
            raise ConfigError(f"{place}: {_why(str(error))} (it is {check.expression!r})") from None
        if gives not in ("BOOL", "DYN"):
            raise ConfigError(f"{place}: gives {gives.lower()}, not true or false")
        return cls(check.expression, check.ask)

    def __call__(self, subject: Subject) -> Finding:
        """Whether the expression is true; an error in it is a finding. Raises `NotStored`."""
        try:
            value = _compiled(self.expression).eval(data=self._data(subject))
            kind, result = value.type().name(), value.value()
        except Exception as error:  # noqa: BLE001  a number of more than 64 bits, say
            return Finding(False, quote(describe(error)))
        if kind == "ERROR":
            return Finding(False, quote(result))
        if not isinstance(result, bool):
            return Finding(False, f"gives {kind.lower()}, not true or false")
        evidence = f"{str(result).lower()}: {quote(self.expression)}"
        return Finding(result, evidence, None if result or not self.ask else Ask(self.ask))

    def _data(self, subject: Subject) -> dict[str, Any]:
        data = {name: VARIABLES[name][1](subject) for name in _used(self.expression)}
        if "extra" in data:
            data["extra"] = _columns(self.expression, subject.extra)
        return data


def _columns(expression: str, extra: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that an expression looks at; all of them unless it gives their names."""
    names: list[str] = ["".join(found) for found in _COLUMN.findall(expression)]
    if "" in names:
        return dict(extra)
    return {name: extra[name] for name in names if name in extra}


@lru_cache(maxsize=256)
def _used(expression: str) -> tuple[str, ...]:
    """The variables without which an expression does not compile."""

    def compiles_without(name: str) -> bool:
        try:
            _compiled(expression, name)
        except RuntimeError:
            return False
        return True

    return tuple(name for name in VARIABLES if not compiles_without(name))


@lru_cache(maxsize=1024)
def _compiled(expression: str, without: str = "") -> Any:
    from cel_expr_python import cel

    types = {name: cel.Type(kind) for name, (kind, _) in VARIABLES.items() if name != without}
    return cel.NewEnv(variables=types).compile(expression)


def _why(message: str) -> str:
    """What the compiler says, in one line."""
    found = _POSITION.search(message)
    if not found:
        return quote(message)
    line, column, text = found.groups()
    unknown = _UNDECLARED.match(text)
    if unknown:
        text = f"no variable or function {unknown[1]!r}{nearest(unknown[1], VARIABLES)}"
    return f"line {line}, column {column}: {text}"
