"""How often a check is right when it flags an answer, by people who have read the flags."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.core.filesystem import Location
from pipeline.results.corrections.standing import UNSURE, AnswerKey, Standing, consensus
from pipeline.results.missed_checks import missed_checks
from pipeline.store.corrections import OF_CHECK
from pipeline.store.reader import BY_GENERATION, read_rows

RIGHT, WRONG = "missed", "passed"
"""What a person says of a flag: that the check should have found this, or nothing."""

CONFIDENCE = 0.95


class CheckPrecision(NamedTuple):
    """How many flags of a check people found right, of those that they decided on.

    `low` and `high` are Wilson's interval at `CONFIDENCE`. Every flag counts once: nothing is
    weighted.
    """

    check: str
    right: int
    read: int
    unsure: int
    low: float
    high: float

    @property
    def precision(self) -> float:
        return self.right / self.read

    @property
    def document(self) -> dict[str, Any]:
        return {**self._asdict(), "precision": self.precision}


def precision_by_check(store: Location, standing: Standing) -> list[CheckPrecision]:
    """The precision of every check that some person has decided a flag of, by name.

    What several people say of a flag counts once, as `consensus` has it. What people say of a check
    that flagged nothing is no part of it. Raises `StorageError`.
    """
    said = dict(_verdicts(standing))
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for key, flagged in _flags(store, said):
        for check in flagged:
            if verdict := said[key].get(check):
                counts[check][verdict] += 1
    return [_precision(check, counts[check]) for check in sorted(counts) if _read(counts[check])]


def _verdicts(standing: Standing) -> Iterator[tuple[AnswerKey, dict[str, str]]]:
    """What people say of each answer's checks, by name."""
    for key, fields in standing.counting.items():
        said = {
            name.removeprefix(OF_CHECK): consensus(corrections)
            for name, corrections in fields.items()
            if name.startswith(OF_CHECK)
        }
        if said:
            yield key, said


def _flags(
    store: Location, said: Mapping[AnswerKey, object]
) -> Iterator[tuple[AnswerKey, list[str]]]:
    """The checks that flagged these answers."""
    if not said:
        return
    ids = pa.array({record_id for record_id, _ in said}, pa.string())
    fields = ("checks.list.element.name", "checks.list.element.passed")
    for rows in read_rows(store, BY_GENERATION, (*BY_GENERATION, *fields)):
        wanted = rows.filter(pc.is_in(rows["record_id"], ids))
        keys = zip(*(wanted[name].to_pylist() for name in BY_GENERATION), strict=True)
        missed = missed_checks(wanted["checks"].combine_chunks()).to_pylist()
        yield from (item for item in zip(keys, missed, strict=True) if item[0] in said)


def _read(verdicts: Counter[str]) -> int:
    return verdicts[RIGHT] + verdicts[WRONG]


def _precision(check: str, verdicts: Counter[str]) -> CheckPrecision:
    from scipy.stats import binomtest  # a slow import

    right, read = verdicts[RIGHT], _read(verdicts)
    low, high = binomtest(right, read).proportion_ci(CONFIDENCE, method="wilson")
    return CheckPrecision(check, right, read, verdicts[UNSURE], float(low), float(high))
