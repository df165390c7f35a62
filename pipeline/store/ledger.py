"""What the store holds, small enough to be shared: 16 bytes for every answer and reject.

A run reads the ledger once, before it starts. What another run writes meanwhile it does not see:
two runs may generate the same record, and the reader rule makes one row of the two count.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.storage import Location
from pipeline.store.parts import read_parts
from pipeline.store.schema import ANSWERS_FOLDER, REJECTS_FOLDER

Digests = npt.NDArray[np.bytes_]
"""Sorted 16-byte digests, dtype `S16`; NumPy's zero padding is harmless where all are 16 long."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """Digests of the store's counting answers, by status, and of its rejects."""

    answered: Digests
    failed: Digests
    rejects: Digests

    @staticmethod
    def of(store: Location) -> "Ledger":
        """Reads the key columns of every part of a store, which may not exist yet."""
        answered, failed = _answers(store.join(ANSWERS_FOLDER))
        return Ledger(answered, failed, _rejects(store.join(REJECTS_FOLDER)))


def answer_digest(record_id: str, generation_key: str) -> bytes:
    return _digest(generation_key.encode(), record_id.encode())


def reject_digest(source_uri: str, source_row: int, payload: bytes) -> bytes:
    return _digest(source_uri.encode(), str(source_row).encode(), payload)


def held(digests: Digests, asked: Sequence[bytes]) -> list[bool]:
    """For each digest asked for, whether the sorted `digests` have it."""
    if not len(digests):
        return [False] * len(asked)
    keys = _array(asked)
    at = np.searchsorted(digests, keys).clip(max=len(digests) - 1)
    return list((digests[at] == keys).tolist())


def _answers(folder: Location) -> tuple[Digests, Digests]:
    """The digests of counting rows that were answered, and of those that failed."""
    keys, times, failed = [_array([])], [np.empty(0, np.int64)], [np.empty(0, bool)]
    for rows in read_parts(folder, ["record_id", "generation_key", "status", "written_at"]):
        ids, generations = rows["record_id"].to_pylist(), rows["generation_key"].to_pylist()
        keys.append(_array(map(answer_digest, ids, generations)))
        times.append(rows["written_at"].cast(pa.int64()).to_numpy())
        failed.append(pc.equal(rows["status"], "failed").to_numpy())
    all_keys, is_failed = np.concatenate(keys), np.concatenate(failed)
    order = np.lexsort((np.concatenate(times), all_keys))
    ordered = all_keys[order]
    newest = np.append(ordered[1:] != ordered[:-1], True)[: len(ordered)]
    counting, is_failed = ordered[newest], is_failed[order][newest]
    return counting[~is_failed], counting[is_failed]


def _rejects(folder: Location) -> Digests:
    keys = [_array([])]
    for rows in read_parts(folder, ["source_uri", "source_row", "payload"]):
        cells = (rows[name].to_pylist() for name in ("source_uri", "source_row", "payload"))
        keys.append(_array(map(reject_digest, *cells)))
    return np.unique(np.concatenate(keys))


def _digest(*parts: bytes) -> bytes:
    hashed = blake2b(digest_size=16)
    for part in parts:
        hashed.update(len(part).to_bytes(8, "big"))
        hashed.update(part)
    return hashed.digest()


def _array(digests: Iterable[bytes]) -> Digests:
    return np.frombuffer(b"".join(digests), dtype="S16")
