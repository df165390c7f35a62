"""The part of a job that one run works on: `--only`, `--limit`, `--retry`."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.core.errors import ConfigError, nearest
from pipeline.core.own_id import own_id
from pipeline.core.records import ENGINE_ERROR, Record, Reject

FIELDS = ("paper_id", "question_id", "record_id")
RETRIES = ("failed", "failed:<check>", "rejected")


@dataclass(frozen=True, slots=True)
class Selection:
    """The part of a job that a run works on; by default all of it."""

    only: Mapping[str, frozenset[str]] = field(default_factory=dict)  # field to allowed values
    limit: int | None = None  # records to work on, at most
    retry_failed: bool = False  # generate all failed answers again
    retry_checks: frozenset[str] = frozenset()  # or those that fail one of these checks
    retry_rejected: bool = False  # write rejects again that the store holds

    def covers(self, item: Record | Reject) -> bool:
        """Whether every field in `only` has an allowed value; rejects have a `record_id` alone.

        Where records share an id, the id selects all of them, and an id with its place one.
        """
        return all(
            getattr(item, name, None) in values
            or (name == "record_id" and own_id(item.record_id, item.place) in values)
            for name, values in self.only.items()
        )


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
        _fields(only), limit, "failed" in retry, frozenset(checks), "rejected" in retry
    )


def _fields(only: Sequence[str]) -> dict[str, frozenset[str]]:
    values: dict[str, frozenset[str]] = {}
    for pair in only:
        name, equals, value = pair.partition("=")
        if not equals or name not in FIELDS:
            raise ConfigError(
                f"--only {pair}: write <field>=<value>; fields are {', '.join(FIELDS)}"
            )
        values[name] = values.get(name, frozenset()) | {value}
    return values
