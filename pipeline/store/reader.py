"""The rows of a store that count, part by part, in memory bounded by a few parts."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from pipeline.storage import Location
from pipeline.store.newest import as_digests, micros, newest, row_digests
from pipeline.store.parts import list_parts, read_part, read_parts
from pipeline.store.schema import ANSWERS, ANSWERS_FOLDER

COUNTING = ("record_id", "generation_key")
"""The reader rule's key: what a record was answered under any prompt, model or sampling."""

LATEST = ("record_id",)
"""One row a record: its newest answer, whatever it was asked with."""


def read_rows(store: Location, by: Sequence[str] = COUNTING) -> Iterator[pa.Table]:
    """The newest rows by key, whole, in the order of the parts."""
    folder = store.join(ANSWERS_FOLDER)
    paths = list_parts(folder)
    keys, times = [as_digests([])], [np.empty(0, np.int64)]
    sizes: list[int] = []
    for rows in read_parts(folder.fs, paths, [*by, "written_at"]):
        keys.append(row_digests(rows, by))
        times.append(micros(rows))
        sizes.append(rows.num_rows)
    counts = np.zeros(sum(sizes), dtype=bool)
    counts[newest(np.concatenate(keys), np.concatenate(times))] = True
    for path, mask in zip(paths, np.split(counts, np.cumsum(sizes)[:-1]), strict=False):
        if mask.any():
            yield read_part(folder.fs, path, ANSWERS.names).filter(pa.array(mask))
