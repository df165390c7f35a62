"""What the store holds, small enough to be shared: 16 bytes for every answer and reject.

A run reads the ledger once, before it starts. What another run writes meanwhile it does not see:
two runs may generate the same record, and the reader rule makes one row of the two count.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from pipeline.storage import Location
from pipeline.store.newest import Digests, as_digests, digest, micros, newest, row_digests
from pipeline.store.parts import list_parts, read_parts
from pipeline.store.reader import COUNTING
from pipeline.store.schema import ANSWERS_FOLDER, REJECTS_FOLDER


@dataclass(frozen=True, slots=True)
class Ledger:
    """Sorted digests of the store's counting answers, by status, and of its rejects."""

    answered: Digests
    failed: Digests
    rejects: Digests

    @staticmethod
    def of(store: Location) -> "Ledger":
        """Reads the key columns of every part of a store, which may not exist yet."""
        answered, failed = _answers(store.join(ANSWERS_FOLDER))
        return Ledger(answered, failed, _rejects(store.join(REJECTS_FOLDER)))


def answer_digest(record_id: str, generation_key: str) -> bytes:
    return digest(record_id.encode(), generation_key.encode())


def reject_digest(source_uri: str, source_row: int, payload: bytes) -> bytes:
    return digest(source_uri.encode(), str(source_row).encode(), payload)


def held(digests: Digests, asked: Sequence[bytes]) -> list[bool]:
    """For each digest asked for, whether the sorted `digests` have it."""
    if not len(digests):
        return [False] * len(asked)
    keys = as_digests(asked)
    at = np.searchsorted(digests, keys).clip(max=len(digests) - 1)
    return list((digests[at] == keys).tolist())


def _answers(folder: Location) -> tuple[Digests, Digests]:
    """The digests of counting rows that were answered, and of those that failed."""
    keys, times, failed = [as_digests([])], [np.empty(0, np.int64)], [np.empty(0, bool)]
    columns = [*COUNTING, "status", "written_at"]
    for rows in read_parts(folder.fs, list_parts(folder), columns):
        keys.append(row_digests(rows, COUNTING))
        times.append(micros(rows))
        failed.append(pc.equal(rows["status"], "failed").to_numpy())
    every = np.concatenate(keys)
    counting = newest(every, np.concatenate(times))
    is_failed = np.concatenate(failed)[counting]
    return every[counting][~is_failed], every[counting][is_failed]


def _rejects(folder: Location) -> Digests:
    keys = [as_digests([])]
    columns = ["source_uri", "source_row", "payload"]
    for rows in read_parts(folder.fs, list_parts(folder), columns):
        keys.append(as_digests(map(reject_digest, *(rows[c].to_pylist() for c in columns))))
    return np.unique(np.concatenate(keys))
