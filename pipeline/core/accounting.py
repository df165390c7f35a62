"""Counts of what became of records: summed per block in the workers, added up on the driver."""

from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Self

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.core.arrow import PREDICTED_SUMS
from pipeline.core.errors import AccountingError
from pipeline.core.records import State

_STATE_OF: dict[str, State] = {
    "current": "current",
    "current_failed": "current",
    "answered": "answered",
    "failed": "failed",
    "rejected": "rejected",
    "rejected_before": "rejected",
}

_FIRST_TOKENS = ("prompt_tokens", "cached_tokens")

PREFIX_SUMS = (*(f"first_{name}" for name in _FIRST_TOKENS), *PREDICTED_SUMS)
"""Prompt tokens of all first attempts, and those that the prefix cache held; then prompt tokens by
their characters, and those that it was predicted to hold."""

_SUMMED = (
    "read",
    "stored_bytes",
    "prompt_tokens",
    "cached_tokens",
    "completion_tokens",
    "reasoning_tokens",
    "word_count",
    *PREDICTED_SUMS,
)


MOST_DETAILS, DETAILS_HELD = 3, 100
"""Details of rejects that are taken over from one table, and those held for all."""


@dataclass(slots=True)
class Totals:
    """Counts over rows of the flow.

    `sums` holds the columns of `_SUMMED`, `repairs` (attempts after a record's first), prompt
    tokens of all first attempts and those that the prefix cache held, `shared_generations` (first
    attempts that were generated for a record with an equal prompt), and what callers of `of` add.
    What equal prompts share counts where it was generated, and nowhere else.
    """

    standings: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    details: Counter[str] = field(default_factory=Counter)  # the most frequent ones, of rejects
    stances: Counter[str] = field(default_factory=Counter)  # of answered records
    checks: Counter[str] = field(default_factory=Counter)  # checks not passed, at any level
    failing: Counter[str] = field(default_factory=Counter)  # checks that made an answer fail
    carried: Counter[str] = field(default_factory=Counter)  # records that have a carried column
    sums: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, table: pa.Table, **sums: int) -> Self:
        """Counts a table of prompts or outcomes; columns that it lacks add nothing."""
        totals = cls(sums=Counter(sums))
        columns = set(table.column_names)
        totals.standings.update(_value_counts(table["standing"]))
        totals.reasons.update(_value_counts(table["reason"]))
        details = Counter(_value_counts(table["detail"]))
        totals.details.update(dict(details.most_common(MOST_DETAILS)))
        if "extra" in columns:
            tallies = table["extra"].filter(pc.equal(table["standing"], "tally")).drop_null()
            for names in map(orjson.loads, tallies.to_pylist()):
                totals.carried.update(names)
        if "stance" in columns:
            answered = table.filter(pc.equal(table["standing"], "answered"))
            totals.stances.update(_value_counts(answered["stance"]))
        if "checks" in columns:
            results = table["checks"].combine_chunks().flatten()
            missed = results.filter(pc.invert(results.field("passed")))
            totals.checks.update(_value_counts(missed.field("name")))
        if "failed_checks" in columns:
            totals.failing.update(_value_counts(table["failed_checks"].combine_chunks().flatten()))
        if "attempts" in columns:
            totals._count_attempts(table["attempts"].drop_null())
        for name in (name for name in _SUMMED if name in columns):
            totals.sums[name] += pc.sum(table[name]).as_py() or 0
        return totals

    def _count_attempts(self, attempts: pa.ChunkedArray) -> None:
        own = sum(a.flatten().field("generated_for").null_count for a in attempts.chunks)
        first = pc.list_element(attempts, 0)
        is_own = pc.is_null(pc.struct_field(first, "generated_for"))
        shared = len(first) - (pc.sum(is_own).as_py() or 0)
        self.sums.update(shared_generations=shared, repairs=own - (len(first) - shared))
        first = first.filter(is_own)
        for name in _FIRST_TOKENS:
            self.sums[f"first_{name}"] += pc.sum(pc.struct_field(first, name)).as_py() or 0

    def add(self, other: Self) -> None:
        for counter in fields(self):
            getattr(self, counter.name).update(getattr(other, counter.name))
        if len(self.details) > DETAILS_HELD:
            self.details = Counter(dict(self.details.most_common(DETAILS_HELD)))

    @property
    def states(self) -> dict[State, int]:
        """Records by the state they ended in."""
        counts: dict[State, int] = {"current": 0, "answered": 0, "failed": 0, "rejected": 0}
        for standing, state in _STATE_OF.items():
            counts[state] += self.standings[standing]
        return counts

    @property
    def counts(self) -> dict[str, int]:
        """The counts in `run.json`: records read, records by state, the failed of `current`, those
        of `current` whose carried columns were filled in; and answers that got a judgement, those
        of `current` among them, and those that should have and did not.

        A record that was read twice, word for word, counts once.
        """
        return {
            "read": self.read,
            **{str(state): count for state, count in self.states.items()},
            "current_failed": self.standings["current_failed"],
            **{
                name: self.sums[name]
                for name in ("filled_in", "judged", "judged_again", "unjudged")
            },
        }

    @property
    def read(self) -> int:
        """Records and rejects, without identical copies."""
        return self.sums["read"] - self.standings["identical"]

    @property
    def done(self) -> int:
        """Records that have reached a state."""
        return sum(self.states.values())

    def leave_rest_unread(self) -> None:
        """Takes records without a state out of `read`: they are left to the next run."""
        self.sums["read"] = self.done + self.standings["identical"]

    def check(self) -> None:
        """Raises `AccountingError` unless every record read has reached exactly one state."""
        if self.read != self.done:
            raise AccountingError(
                f"{self.read} records were read but {self.done} are accounted for: "
                f"{self.states}; every part written is complete, run again for the rest"
            )


def _value_counts(column: pa.ChunkedArray | pa.Array) -> dict[str, int]:
    return {c["values"]: c["counts"] for c in column.drop_null().value_counts().to_pylist()}
