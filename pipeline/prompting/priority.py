"""What is answered first: `input.priority`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, isnan
from typing import Any

from pipeline.config.schema import NEW_FIRST, Input
from pipeline.core.dotted import keys_to, value_at
from pipeline.core.filesystem import Location
from pipeline.core.records import Record
from pipeline.store.answered_ids import AnsweredIds

LAST = -inf
"""The rank of a record that has no number in the column."""


@dataclass(frozen=True, slots=True)
class Priority:
    """Ranks records, of which higher ones come first: by the number in a column of their own, or
    records without any stored answer before the others.
    """

    by: str | AnsweredIds

    @staticmethod
    def of(wanted: Input, store: Location) -> "Priority | None":
        """What a job wants to come first, if anything; the store may not exist yet."""
        if wanted.priority == NEW_FIRST:
            return Priority(AnsweredIds.of(store, wanted.bucket))
        return Priority(wanted.priority) if wanted.priority else None

    def ranks(self, records: Sequence[Record]) -> list[float]:
        """A rank for each record."""
        if isinstance(self.by, str):
            return [_number_in(record.extra, self.by) for record in records]
        known = self.by.contain([record.record_id for record in records])
        return [0.0 if is_known else 1.0 for is_known in known]


def _number_in(columns: Mapping[str, Any], name: str) -> float:
    """CSV has numbers as text; what is no number, and what is none, is last."""
    keys = keys_to(columns, name)
    value = value_at(columns, keys) if keys else None
    if not isinstance(value, (int, float, str)):
        return LAST
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return LAST
    return LAST if isnan(number) else number
