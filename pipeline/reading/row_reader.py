"""Makes records of the rows of one shard, whatever its format."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from pipeline.core.records import Fault, Place, Record, Reject
from pipeline.reading.columns import OWN, Columns
from pipeline.reading.openai_batch import any_id, any_record

Parse: TypeAlias = Callable[[Any, Place, Columns], Record]


@dataclass(frozen=True, slots=True)
class RowReader:
    """Reads rows by `parse`, our fields in `columns`, with the columns that the shard's folders
    give to all of its rows.
    """

    columns: Columns = OWN
    folders: Mapping[str, str | None] = field(default_factory=dict)
    parse: Parse = any_record

    def item(self, row: Any, place: Place, payload: Callable[[], bytes]) -> Record | Reject:
        """The record in a row, or its reject, for which `payload` gives the row as it was read."""
        row = self._whole(row)
        try:
            return self._with_folders(self.parse(row, place, self.columns))
        except Fault as fault:
            return self.reject(fault, row, place, payload())

    def reject(self, fault: Fault, row: Any, place: Place, payload: bytes) -> Reject:
        """The reject of a row that has been read, under the row's id."""
        return fault.at(place, payload, any_id(self._whole(row), self.columns))

    def _whole(self, row: Any) -> Any:
        """A row's own columns come before those of its folders."""
        return {**self.folders, **row} if self.folders and isinstance(row, Mapping) else row

    def _with_folders(self, record: Record) -> Record:
        """Lines of a batch's output keep no column of their own, but these."""
        if self.folders and not record.extra:
            return replace(record, extra=self.columns.rest(self.folders))
        return record
