"""What became of records, added up: per block where they are, in all on the driver."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.core.arrow import PREFIX_SUMS
from pipeline.core.errors import AccountingError
from pipeline.core.records import State

_FOLDED: dict[str, State] = {
    "current": "current",
    "current_failed": "current",
    "answered": "answered",
    "failed": "failed",
    "rejected": "rejected",
    "rejected_before": "rejected",
}


@dataclass(slots=True)
class Totals:
    """Sums over rows of the flow. `sums` holds `read`, `stored_bytes`, tokens, parts, and so on;
    `repairs` are attempts after a record's first.
    """

    standings: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    stances: Counter[str] = field(default_factory=Counter)  # of what was answered
    checks: Counter[str] = field(default_factory=Counter)  # found not passed, at any level
    failing: Counter[str] = field(default_factory=Counter)  # that made an answer fail
    sums: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, table: pa.Table, **sums: int) -> Self:
        """The totals of a table of prompts or outcomes; columns that it lacks count nothing."""
        totals = cls(sums=Counter(sums))
        held = set(table.column_names)
        totals.standings.update(_value_counts(table["standing"]))
        totals.reasons.update(_value_counts(table["reason"]))
        if "stance" in held:
            answered = table.filter(pc.equal(table["standing"], "answered"))
            totals.stances.update(_value_counts(answered["stance"]))
        if "checks" in held:
            missed = table["checks"].combine_chunks().flatten()
            missed = missed.filter(pc.invert(missed.field("passed")))
            totals.checks.update(_value_counts(missed.field("name")))
        if "failed_checks" in held:
            totals.failing.update(_value_counts(table["failed_checks"].combine_chunks().flatten()))
        if "attempts" in held:
            attempts = pc.list_value_length(table["attempts"].drop_null())
            totals.sums["repairs"] += (pc.sum(attempts).as_py() or 0) - len(attempts)
        for name in (
            "read",
            "stored_bytes",
            "prompt_tokens",
            "cached_tokens",
            "completion_tokens",
            "word_count",
            *PREFIX_SUMS,
        ):
            if name in held:
                totals.sums[name] += pc.sum(table[name]).as_py() or 0
        return totals

    def add(self, other: Self) -> None:
        for mine, theirs in zip(self._counters(), other._counters(), strict=True):
            mine.update(theirs)

    def _counters(self) -> tuple[Counter[str], ...]:
        return (
            self.standings,
            self.reasons,
            self.stances,
            self.checks,
            self.failing,
            self.sums,
        )

    @property
    def states(self) -> dict[State, int]:
        """Records by the state they ended in."""
        counts: dict[State, int] = {"current": 0, "answered": 0, "failed": 0, "rejected": 0}
        for standing, state in _FOLDED.items():
            counts[state] += self.standings[standing]
        return counts

    @property
    def counts(self) -> dict[str, int]:
        """`run.json`'s counts: what was read, every state, and the current ones that failed."""
        failed_before = self.standings["current_failed"]
        return {
            "read": self.sums["read"],
            **{str(state): count for state, count in self.states.items()},
            "current_failed": failed_before,
        }

    @property
    def done(self) -> int:
        """Records that have reached a state."""
        return sum(self.states.values())

    def leave_rest_unread(self) -> None:
        """Of a run that ended early: what reached no state is for the next run to read."""
        self.sums["read"] = self.done

    def check(self) -> None:
        """Raises `AccountingError` unless every record that was read reached one state."""
        if self.sums["read"] != self.done:
            raise AccountingError(
                f"{self.sums['read']} records were read and {self.done} accounted for: "
                f"{self.states}; the parts written are whole, run again to complete them"
            )

    def receipt(self) -> pa.Table:
        """These totals as one row, for their way to the driver."""
        return pa.table({"receipt": [orjson.dumps(self)]})

    @classmethod
    def of_receipt(cls, receipt: bytes) -> Self:
        held: Mapping[str, Any] = orjson.loads(receipt)
        return cls(**{name: Counter(counts) for name, counts in held.items()})


def _value_counts(column: pa.ChunkedArray | pa.Array) -> dict[str, int]:
    counted = column.drop_null().value_counts()
    return dict(
        zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True)
    )
