"""What a store holds, in memory that nodes can share: 16 bytes for every answer and reject.

A run reads the ledger once, before it starts. It does not see what another run writes meanwhile:
both may generate the same record, and by the reader rule one of the two rows counts.
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
from pipeline.store.reader import (
    BY_GENERATION,
    DIGEST_DTYPE,
    Digests,
    as_digests,
    key_digest,
    newest,
    row_digests,
    written_micros,
)
from pipeline.store.schema import ANSWERS_FOLDER, REJECTS_FOLDER

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Ledger:
    """Sorted digests of the counting answers of a store, by status, and of its rejects.

    `again` holds those of `failed` that the run is to retry. For one bucket, the ledger holds the
    bucket's answers and, since rejects do not name their papers, all rejects in parts that may
    belong to the bucket.
    """

    answered: Digests
    failed: Digests
    again: Digests
    rejects: Digests

    @staticmethod
    def of(store: Location, selection: Selection = EVERYTHING, bucket: Bucket = WHOLE) -> "Ledger":
        """Reads the key columns of a store, which may not exist yet."""
        answers, rejects = store.join(ANSWERS_FOLDER), store.join(REJECTS_FOLDER)
        return Ledger(
            *with_parts(answers, lambda parts: _answers(answers, parts, selection, bucket), bucket),
            with_parts(rejects, lambda parts: _rejects(rejects, parts, selection), bucket),
        )

    @staticmethod
    def empty() -> "Ledger":
        return Ledger(*[as_digests([])] * 4)


def answer_digest(record_id: str, generation_key: str) -> bytes:
    return key_digest(record_id.encode(), generation_key.encode())


def answer_digests(rows: pa.Table) -> list[bytes]:
    keys = zip(*(rows[name].to_pylist() for name in BY_GENERATION), strict=True)
    return [answer_digest(*key) for key in keys]


def reject_digest(source_uri: str, source_row: int, payload: bytes) -> bytes:
    return key_digest(source_uri.encode(), str(source_row).encode(), payload)


def contains(digests: Digests, wanted: Sequence[bytes]) -> list[bool]:
    """Whether the sorted `digests` contain each of the wanted ones."""
    if not len(digests):
        return [False] * len(wanted)
    keys = as_digests(wanted)
    at = np.searchsorted(digests, keys).clip(max=len(digests) - 1)
    return list((digests[at] == keys).tolist())


def _answers(
    folder: Location, parts: Sequence[str], selection: Selection, bucket: Bucket
) -> tuple[Digests, Digests, Digests]:
    """Digests of the counting rows: those answered, those failed, and those to be retried."""
    # Growing buffers: lists of arrays would take twice the memory while they are concatenated.
    keys, times, failed, again = (bytearray() for _ in range(4))
    columns = columns_in(bucket, [*BY_GENERATION, "status", "failed_checks", "written_at"])
    for part in read_parts(folder.fs, parts, columns):
        rows = rows_in(bucket, part)
        keys += row_digests(rows, BY_GENERATION).data
        times += written_micros(rows).data
        is_failed = pc.equal(rows["status"], "failed").to_numpy()
        failed += is_failed.data
        again += _to_retry(rows, is_failed, selection).data
    digests = np.frombuffer(keys, DIGEST_DTYPE)
    counting = newest(digests, np.frombuffer(times, np.int64))
    is_failed, is_again = (np.frombuffer(mask, bool)[counting] for mask in (failed, again))
    answered, failed_rows = counting[~is_failed], counting[is_failed]
    return digests[answered], digests[failed_rows], digests[counting[is_again]]


def _to_retry(rows: pa.Table, failed: Mask, selection: Selection) -> Mask:
    if selection.retry_failed or not selection.retry_checks:
        return failed & selection.retry_failed
    checks = selection.retry_checks
    return np.array([not checks.isdisjoint(c or ()) for c in rows["failed_checks"].to_pylist()])


def _rejects(folder: Location, parts: Sequence[str], selection: Selection) -> Digests:
    """Digests of the rejects; none with `--retry rejected`, which writes all rejects again."""
    keys = [as_digests([])]
    columns = ["source_uri", "source_row", "payload"]
    for rows in read_parts(folder.fs, () if selection.retry_rejected else parts, columns):
        keys.append(as_digests(map(reject_digest, *(rows[c].to_pylist() for c in columns))))
    return np.unique(np.concatenate(keys))
