"""The part of a job that one run works on: `--only`, `--limit`, `--retry`."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, time
from decimal import Decimal
from typing import Any, Self

from pipeline.config.schema import Fields
from pipeline.core.dotted import keys_to, value_at
from pipeline.core.errors import ConfigError, nearest
from pipeline.core.own_id import own_id
from pipeline.core.records import ENGINE_ERROR, Record, Reject

FIELDS = ("paper_id", "question_id", "question", "recorded_answer")
"""Fields of a record that `--only` knows beside its id and the user's own columns."""

_ID_COLUMNS = ("record_id", "id", "custom_id")

RETRIES = ("failed", "failed:<check>", "rejected")


@dataclass(frozen=True, slots=True)
class Selection:
    """The part of a job that a run works on; by default all of it."""

    only: Mapping[str, frozenset[str]] = field(default_factory=dict)  # column to allowed values
    limit: int | None = None  # records to work on, at most
    retry_failed: bool = False  # generate all failed answers again
    retry_checks: frozenset[str] = frozenset()  # or those that fail one of these checks
    retry_rejected: bool = False  # write rejects again that the store holds

    def covers(self, item: Record | Reject) -> bool:
        """Whether every column in `only` has an allowed value; rejects have a `record_id` alone.

        Where records share an id, the id selects all of them, and an id with its place one.
        """
        return all(_has(item, name, values) for name, values in self.only.items())

    def described(self) -> dict[str, Any]:
        """What it leaves out, for the run file; empty if nothing."""
        described = {
            "only": {name: sorted(values) for name, values in sorted(self.only.items())},
            "limit": self.limit,
            "retry_failed": self.retry_failed,
            "retry_checks": sorted(self.retry_checks),
            "retry_rejected": self.retry_rejected,
        }
        return {name: value for name, value in described.items() if value}

    def under(self, fields: Fields) -> Self:
        """The same for a job whose columns have names of their own."""
        ours = {getattr(fields, name): name for name in ("question", "recorded_answer")}
        return replace(self, only={ours.get(name, name): v for name, v in self.only.items()})


def _has(item: Record | Reject, name: str, wanted: frozenset[str]) -> bool:
    extra = item.extra if isinstance(item, Record) and name not in ("record_id", *FIELDS) else {}
    if keys := keys_to(extra, name):
        return _is_one_of(value_at(extra, keys), wanted)
    if name in _ID_COLUMNS:
        return item.record_id in wanted or own_id(item.record_id, item.place) in wanted
    return name in FIELDS and getattr(item, name, None) in wanted


def _is_one_of(value: Any, wanted: frozenset[str]) -> bool:
    """Whether a value is written like this: `true` and `7` may also be `True` and `7.0`."""
    if value is None:
        return "" in wanted
    if isinstance(value, bool):
        return any(text.lower() == str(value).lower() for text in wanted)
    if isinstance(value, int | float | Decimal):
        return str(value) in wanted or any(_number(text, type(value)) == value for text in wanted)
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace") in wanted
    if isinstance(value, date | time):
        return value.isoformat() in wanted or str(value) in wanted
    return not isinstance(value, list | Mapping) and str(value) in wanted


def _number(text: str, kind: type) -> float | Decimal | None:
    try:
        return float(text) if kind is float else Decimal(text)
    except (ValueError, ArithmeticError):
        return None


EVERYTHING = Selection()


def select(
    only: Sequence[str] = (),
    limit: int | None = None,
    retry: Sequence[str] = (),
    known_checks: Collection[str] = (),
) -> Selection:
    """The selection for the command line's options; raises `ConfigError` for an invalid one.

    `known_checks` are the names that may follow `--retry failed:`, besides `engine_error`.
    """
    if limit is not None and limit < 1:
        raise ConfigError(f"--limit {limit}: no record would be left; give 1 or more")
    checks = {r.removeprefix("failed:") for r in retry if r.startswith("failed:")}
    known = {*known_checks, ENGINE_ERROR}
    for name in sorted(checks - known):
        raise ConfigError(f"--retry failed:{name}: no such check{nearest(name, known)}")
    for kind in retry:
        if kind not in RETRIES and not kind.startswith("failed:"):
            raise ConfigError(f"--retry {kind}: not one of {', '.join(RETRIES)}")
    return Selection(
        _columns(only), limit, "failed" in retry, frozenset(checks), "rejected" in retry
    )


def _columns(only: Sequence[str]) -> dict[str, frozenset[str]]:
    values: dict[str, frozenset[str]] = {}
    for pair in only:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise ConfigError(
                f"--only {pair}: write <column>=<value>, as in paper_id=p17; a column of your own "
                "will do"
            )
        values[name] = values.get(name, frozenset()) | {value}
    return values
