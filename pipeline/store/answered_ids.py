"""The ids of the records that a store has any answer of, whatever became of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.config.bucket import WHOLE, Bucket
from pipeline.core.filesystem import Location
from pipeline.store.lengths import Numbers, digests
from pipeline.store.parts import columns_in, read_parts, rows_in, with_parts
from pipeline.store.schema import ANSWERS_FOLDER


@dataclass(frozen=True, slots=True)
class AnsweredIds:
    """Sorted digests of ids: 8 bytes a record."""

    ids: Numbers

    @staticmethod
    def of(store: Location, bucket: Bucket = WHOLE) -> "AnsweredIds":
        """Reads the ids of a store, which may not exist yet."""
        folder = store.join(ANSWERS_FOLDER)
        return with_parts(folder, lambda parts: _ids_in(folder, parts, bucket), bucket)

    def contain(self, record_ids: Sequence[str]) -> npt.NDArray[np.bool_]:
        return np.isin(digests(record_ids), self.ids)


def _ids_in(folder: Location, parts: Sequence[str], bucket: Bucket) -> AnsweredIds:
    found = np.array([], np.int64)
    for part in read_parts(folder.fs, parts, columns_in(bucket, ("record_id",))):
        ids = rows_in(bucket, part)["record_id"].unique().to_pylist()
        found = np.union1d(found, digests(ids))
    return AnsweredIds(found)
