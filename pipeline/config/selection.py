"""Which part of a job one run is asked to do: `--only`, `--limit`, `--retry`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.answering.checks import known_checks
from pipeline.core.errors import ConfigError, nearest
from pipeline.core.records import ENGINE_ERROR, Record, Reject

FIELDS = ("paper_id", "question_id", "record_id")
RETRIES = ("failed", "failed:<check>", "rejected")


@dataclass(frozen=True, slots=True)
class Selection:
    """The whole job where nothing is asked for.

    `only` names the values that a record's field may have; a record fits if all named fields do.
    `retry_checks` are failed answers by a check they fail, `retry_failed` all of them.
    """

    only: Mapping[str, frozenset[str]] = field(default_factory=dict)
    limit: int | None = None
    retry_failed: bool = False
    retry_checks: frozenset[str] = frozenset()
    retry_rejected: bool = False

    def covers(self, item: Record | Reject) -> bool:
        """A reject has no paper and no question, and is found by its id alone."""
        return all(getattr(item, name, None) in values for name, values in self.only.items())


EVERYTHING = Selection()


def select(
    only: Sequence[str] = (), limit: int | None = None, retry: Sequence[str] = ()
) -> Selection:
    """A selection from the command line's words; `ConfigError` for one that means nothing."""
    if limit is not None and limit < 1:
        raise ConfigError(f"--limit {limit}: a run of no records; give 1 or more")
    checks = {r.removeprefix("failed:") for r in retry if r.startswith("failed:")}
    known = {*known_checks(), ENGINE_ERROR}
    for name in sorted(checks - known):
        raise ConfigError(f"--retry failed:{name}: no such check{nearest(name, known)}")
    for word in retry:
        if word not in RETRIES and not word.startswith("failed:"):
            raise ConfigError(f"--retry {word}: not one of {', '.join(RETRIES)}")
    return Selection(
        _fields(only), limit, "failed" in retry, frozenset(checks), "rejected" in retry
    )


def _fields(only: Sequence[str]) -> dict[str, frozenset[str]]:
    values: dict[str, frozenset[str]] = {}
    for pair in only:
        name, equals, value = pair.partition("=")
        if not equals or name not in FIELDS:
            raise ConfigError(f"--only {pair}: reads <field>=<value>, with {', '.join(FIELDS)}")
        values[name] = values.get(name, frozenset()) | {value}
    return values
