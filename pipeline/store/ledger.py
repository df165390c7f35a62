"""What the store holds, small enough to be shared: 16 bytes for every answer and reject.

A run reads the ledger once, before it starts. What another run writes meanwhile it does not see:
two runs may generate the same record, and the reader rule makes one row of the two count.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config.bucket import WHOLE, Bucket
from pipeline.config.selection import EVERYTHING, Selection
from pipeline.core.filesystem import Location
from pipeline.store.parts import columns_in, read_parts, rows_in, with_parts
from pipeline.store.reader import COUNTING
from pipeline.store.reader_rule import (
    DIGEST,
    Digests,
    as_digests,
    digest,
    micros,
    newest,
    row_digests,
)
from pipeline.store.schema import ANSWERS_FOLDER, REJECTS_FOLDER

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Ledger:
    """Sorted digests of the store's counting answers, by status, and of its rejects.

    `again` are those of `failed` that a run was asked to do again. Of answers it holds a bucket's
    slice; of rejects, which do not tell their papers, all that are in parts of the bucket.
    """

    answered: Digests
    failed: Digests
    again: Digests
    rejects: Digests

    @staticmethod
    def of(store: Location, selection: Selection = EVERYTHING, bucket: Bucket = WHOLE) -> "Ledger":
        """Reads the key columns of the parts of a store, which may not exist yet."""
        answers, rejects = store.join(ANSWERS_FOLDER), store.join(REJECTS_FOLDER)
        return Ledger(
            *with_parts(answers, lambda parts: _answers(answers, parts, selection, bucket), bucket),
            with_parts(rejects, lambda parts: _rejects(rejects, parts, selection), bucket),
        )

    @staticmethod
    def empty() -> "Ledger":
        return Ledger(*[as_digests([])] * 4)


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


def _answers(
    folder: Location, parts: Sequence[str], selection: Selection, bucket: Bucket
) -> tuple[Digests, Digests, Digests]:
    """The digests of counting rows: those answered, those failed, those of them to do again."""
    # Buffers that grow: of ten million rows, lists of arrays and their sum would be held at once.
    keys, times, failed, again = bytearray(), bytearray(), bytearray(), bytearray()
    columns = columns_in(bucket, [*COUNTING, "status", "failed_checks", "written_at"])
    for held in read_parts(folder.fs, parts, columns):
        rows = rows_in(bucket, held)
        keys += row_digests(rows, COUNTING).data
        times += micros(rows).data
        is_failed = pc.equal(rows["status"], "failed").to_numpy()
        failed += is_failed.data
        again += _to_do_again(rows, is_failed, selection).data
    every = np.frombuffer(keys, DIGEST)
    counting = newest(every, np.frombuffer(times, np.int64))
    flags = (np.frombuffer(flagged, bool) for flagged in (failed, again))
    is_failed, is_again = (flagged[counting] for flagged in flags)
    return every[counting[~is_failed]], every[counting[is_failed]], every[counting[is_again]]


def _to_do_again(rows: pa.Table, failed: Flags, selection: Selection) -> Flags:
    if selection.retry_failed or not selection.retry_checks:
        return failed & selection.retry_failed
    checks = selection.retry_checks
    return np.array([not checks.isdisjoint(c or ()) for c in rows["failed_checks"].to_pylist()])


def _rejects(folder: Location, parts: Sequence[str], selection: Selection) -> Digests:
    """None where all rejects are to be written again, as today's readers see them."""
    keys = [as_digests([])]
    columns = ["source_uri", "source_row", "payload"]
    for rows in read_parts(folder.fs, () if selection.retry_rejected else parts, columns):
        keys.append(as_digests(map(reject_digest, *(rows[c].to_pylist() for c in columns))))
    return np.unique(np.concatenate(keys))
