"""The rows of a store that count, part by part, in memory bounded by a few parts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.core.filesystem import Location
from pipeline.store.parts import LISTINGS, PartGone, read_batches, read_parts, with_parts
from pipeline.store.reader_rule import Digests, as_digests, flags, micros, newest, row_digests
from pipeline.store.schema import ANSWERS, ANSWERS_FOLDER

COUNTING = ("record_id", "generation_key")
"""The reader rule's key: what a record was answered under any prompt, model or sampling."""

LATEST = ("record_id",)
"""One row a record: its newest answer, whatever it was asked with."""


@dataclass(frozen=True, slots=True)
class PartRows:
    """A part's rows by their keys, and which of them count; arrays of one length.

    `has_ties` where a row that does not count is as new as the one that does.
    """

    path: str
    keys: Digests
    counts: npt.NDArray[np.bool_]
    has_ties: bool


def counting_rows(folder: Location, by: Sequence[str] = COUNTING) -> list[PartRows]:
    """What counts in each part of `answers/`, in the order of the parts."""
    return with_parts(folder, lambda parts: _counting_rows(folder, parts, by))


def _counting_rows(folder: Location, parts: Sequence[str], by: Sequence[str]) -> list[PartRows]:
    keys, times = [as_digests([])], [np.empty(0, np.int64)]
    for rows in read_parts(folder.fs, parts, [*by, "written_at"]):
        keys.append(row_digests(rows, by))
        times.append(micros(rows))
    every, written = np.concatenate(keys), np.concatenate(times)
    counting = newest(every, written)
    counts = flags(counting, len(every))
    (others,) = np.nonzero(~counts)
    rivals = counting[np.searchsorted(every[counting], every[others])]
    ties = np.zeros(len(every), dtype=bool)
    ties[others] = written[others] == written[rivals]
    borders = np.cumsum([len(k) for k in keys[1:]])[:-1]
    return [
        PartRows(path, rows, counted, bool(tied.any()))
        for path, rows, counted, tied in zip(
            parts, keys[1:], np.split(counts, borders), np.split(ties, borders), strict=False
        )
    ]


def count_rows(store: Location, by: Sequence[str] = COUNTING) -> int:
    """How many rows `read_rows` would hand on now."""
    folder = store.join(ANSWERS_FOLDER)
    return sum(int(part.counts.sum()) for part in counting_rows(folder, by))


def read_rows(
    store: Location, by: Sequence[str] = COUNTING, columns: Sequence[str] = ANSWERS.names
) -> Iterator[pa.Table]:
    """The newest rows by key, in the order of the parts, some thousand at a time; each once, though
    parts are compacted meanwhile.

    A column may be a piece of a nested one, by its path in the file: `checks.list.element.name`.
    """
    folder = store.join(ANSWERS_FOLDER)
    given = [as_digests([])]
    for listing in range(LISTINGS):
        before = np.concatenate(given)
        try:
            for part in counting_rows(folder, by):
                asked = part.counts & ~np.isin(part.keys, before)
                at = 0
                for rows in read_batches(folder.fs, part.path, columns) if asked.any() else ():
                    here = slice(at, at := at + rows.num_rows)
                    given.append(part.keys[here][asked[here]])
                    yield rows.filter(pa.array(asked[here]))
        except PartGone:
            if listing == LISTINGS - 1:
                raise
        else:
            return
