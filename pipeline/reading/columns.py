"""Where a row keeps our fields: under our names, or in the user's columns of `input.fields`."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from pipeline.config.schema import CONTENT, Fields
from pipeline.core.dotted import keys_to, value_at, without

_NAMES = {
    "record_id": ("record_id", "id", "custom_id"),
    "recorded_answer": ("recorded_answer", "answer", "completion"),
    **{name: (name,) for name in ("paper_id", "question_id", *CONTENT)},
}
"""Each field with the columns that hold it unless a job names another; the first that has a value
counts."""

_TEXTS = (*CONTENT, "recorded_answer")
"""Fields whose columns are not kept among the user's own: the record has their text already."""


class Columns:
    """The columns of our fields in a user's rows.

    A column that a job names takes the place of ours, and is read as nothing else.
    """

    def __init__(self, fields: Fields) -> None:
        self._mapped: dict[str, str] = fields.model_dump(exclude_none=True)
        moved = set(self._mapped.values())
        self._candidates = {
            name: [self._mapped[name]]
            if name in self._mapped
            else [n for n in own if n not in moved]
            for name, own in _NAMES.items()
        }
        unmapped = (n for name in _NAMES if name not in self._mapped for n in _NAMES[name])
        same = (name for name, column in self._mapped.items() if name == column)
        self._ours = {*unmapped} - moved | {*same}
        self._texts = dict.fromkeys(self._mapped[name] for name in _TEXTS if name in self._mapped)

    @property
    def maps_content(self) -> bool:
        """Whether a column is named of which prompts are made."""
        return any(name in self._mapped for name in CONTENT)

    def getter(self, row: Mapping[str, Any]) -> Callable[[str], Any]:
        """What gives the value of a column of a row, None if the row does not have it."""
        return partial(_value, row) if self._mapped else row.get

    def of(self, field: str) -> list[str]:
        """The columns that may hold a field, in order; none if each is mapped to another field."""
        return self._candidates[field]

    def is_own(self, column: str) -> bool:
        """Whether a column of this name is the user's own, and of none of our fields."""
        return column not in self._ours and column not in self._mapped.values()

    def rest(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The user's columns under their own names.

        They are all that are not ours, and of those in `input.fields` the ids.
        """
        ours = self._ours
        extra = {str(name): value for name, value in row.items() if name not in ours}
        for column in self._texts:
            if keys := keys_to(extra, column):
                extra = without(extra, keys)
        return extra


def _value(row: Mapping[str, Any], column: str) -> Any:
    keys = keys_to(row, column)
    return None if keys is None else value_at(row, keys)


OWN = Columns(Fields())
"""For a job without `input.fields`."""
