"""What a store holds, in memory that nodes can share: 16 bytes for every answer and reject.

A run reads the ledger once, before it starts. It does not see what another run writes meanwhile:
both may generate the same record, and by the reader rule one of the two rows counts.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config.bucket import WHOLE, Bucket
from pipeline.config.selection import EVERYTHING, Selection
from pipeline.core.carried import NOTHING, Carry, columns_of, comparable
from pipeline.core.filesystem import Location
from pipeline.core.identity import id_digest
from pipeline.core.own_id import OWN_SUFFIX
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


class RowTest(NamedTuple):
    """What holds of some stored rows, and the columns by which that is known."""

    columns: Sequence[str]
    holds: Callable[[pa.Table], Sequence[bool]]


SIDES: tuple[Literal["left", "right"], ...] = ("left", "right")


@dataclass(frozen=True, slots=True)
class OwnIds:
    """The answers of records with ids of their own (`<id>@<8 hex digits>`), without these digits.

    `ids` are sorted digests of the ids that such records share; `answers` are sorted digests of id
    and generation key, and `places` what the ids of those answers end in.
    """

    ids: npt.NDArray[np.uint64]
    answers: Digests
    places: npt.NDArray[np.uint32]

    @staticmethod
    def of(record_ids: Sequence[str], generation_keys: Sequence[str]) -> "OwnIds":
        users = [record_id.rsplit("@", 1)[0] for record_id in record_ids]
        places = np.array([int(record_id[-8:], 16) for record_id in record_ids], np.uint32)
        answers = as_digests(map(answer_digest, users, generation_keys))
        order = np.argsort(answers, kind="stable")
        ids = np.unique(np.array(list(map(id_digest, set(users))), np.uint64))
        return OwnIds(ids, answers[order], places[order])

    def like(self, record_id: str, answer: bytes) -> list[str]:
        """The ids under which the store has this answer, from any place."""
        start, end = (np.searchsorted(self.answers, as_digests([answer]), s)[0] for s in SIDES)
        return [f"{record_id}@{place:08x}" for place in np.unique(self.places[start:end])]


@dataclass(frozen=True, slots=True)
class Ledger:
    """Sorted digests of the counting answers of a store, by status, and of its rejects.

    `again` holds those of `failed` that the run is to retry, `superseded` the answers under whose
    id another counting one is newer: a prompt was edited, or two records had the same id.
    `carrying` holds digests of the answers with the columns that the job carries, if it does carry
    any; `unjudged` those of the answers that lack the judgement of the job's judge, if it has one.
    For one bucket, the ledger holds the bucket's answers and, since rejects do not name their
    papers, all rejects in parts that may belong to the bucket.
    """

    answered: Digests
    failed: Digests
    again: Digests
    superseded: Digests
    own: OwnIds
    carrying: Digests
    unjudged: Digests
    rejects: Digests

    @staticmethod
    def of(
        store: Location,
        selection: Selection = EVERYTHING,
        bucket: Bucket = WHOLE,
        carry: Carry = NOTHING,
        unjudged: RowTest | None = None,
    ) -> "Ledger":
        """Reads the key columns of a store, which may not exist yet."""
        answers, rejects = store.join(ANSWERS_FOLDER), store.join(REJECTS_FOLDER)
        return Ledger(
            *with_parts(
                answers,
                lambda parts: _answers(answers, parts, selection, bucket, carry, unjudged),
                bucket,
            ),
            rejects=with_parts(rejects, lambda parts: _rejects(rejects, parts, selection), bucket),
        )

    @staticmethod
    def empty() -> "Ledger":
        none = as_digests([])
        return Ledger(none, none, none, none, OwnIds.of([], []), none, none, none)


def answer_digest(record_id: str, generation_key: str) -> bytes:
    return key_digest(record_id.encode(), generation_key.encode())


def carrying_digest(record_id: str, generation_key: str, columns: bytes) -> bytes:
    """Of an answer with its carried columns, as `comparable` gives them."""
    return key_digest(record_id.encode(), generation_key.encode(), columns)


def reject_digest(source_uri: str, source_row: int, payload: bytes) -> bytes:
    return key_digest(source_uri.encode(), str(source_row).encode(), payload)


def contains(digests: Digests, wanted: Sequence[bytes]) -> list[bool]:
    """Whether the sorted `digests` contain each of the wanted ones."""
    return list(holds(digests, as_digests(wanted)).tolist())


def holds(digests: Digests, wanted: Digests) -> Mask:
    """The same for arrays."""
    if not len(digests):
        return np.zeros(len(wanted), bool)
    at = np.searchsorted(digests, wanted).clip(max=len(digests) - 1)
    return np.asarray(digests[at] == wanted)


def _answers(
    folder: Location,
    parts: Sequence[str],
    selection: Selection,
    bucket: Bucket,
    carry: Carry,
    unjudged: RowTest | None,
) -> tuple[Digests, Digests, Digests, Digests, OwnIds, Digests, Digests]:
    """Digests of the counting rows by what they are; see `Ledger`."""
    # Growing buffers: lists of arrays would take twice the memory while they are concatenated.
    keys, times, failed, again, records, carrying, lacking = (bytearray() for _ in range(7))
    own: dict[str, list[str]] = {name: [] for name in BY_GENERATION}
    wanted = [*BY_GENERATION, "status", "failed_checks", "written_at", *(["extra"] * bool(carry))]
    columns = columns_in(
        bucket, [*dict.fromkeys([*wanted, *(unjudged.columns if unjudged else ())])]
    )
    for part in read_parts(folder.fs, parts, columns):
        rows = rows_in(bucket, part)
        keys += row_digests(rows, BY_GENERATION).data
        times += written_micros(rows).data
        is_failed = pc.equal(rows["status"], "failed").to_numpy()
        failed += is_failed.data
        again += _to_retry(rows, is_failed, selection).data
        records += _hashes(rows["record_id"]).data
        lacking += np.array(unjudged.holds(rows) if unjudged else (), bool).data
        carrying += b"".join(_carrying(rows, carry) if carry else ())
        with_own = rows.filter(pc.match_substring_regex(rows["record_id"], OWN_SUFFIX.pattern))
        for name in own:
            own[name] += with_own[name].to_pylist()
    digests, written = np.frombuffer(keys, DIGEST_DTYPE), np.frombuffer(times, np.int64)
    counting = newest(digests, written)
    is_failed, is_again = (np.frombuffer(mask, bool)[counting] for mask in (failed, again))
    return (
        digests[counting[~is_failed]],
        digests[counting[is_failed]],
        digests[counting[is_again]],
        digests[_superseded(counting, np.frombuffer(records, np.int64), written)],
        OwnIds.of(*own.values()),
        np.sort(np.frombuffer(carrying, DIGEST_DTYPE)[counting]) if carry else as_digests([]),
        digests[counting[np.frombuffer(lacking, bool)[counting]]] if unjudged else as_digests([]),
    )


def _carrying(rows: pa.Table, carry: Carry) -> Iterator[bytes]:
    cells = (rows[name].to_pylist() for name in (*BY_GENERATION, "extra"))
    for record_id, generation_key, extra in zip(*cells, strict=True):
        columns = comparable(columns_of(extra), carry)
        yield carrying_digest(record_id, generation_key, columns)


def _hashes(texts: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """Numbers that tell texts apart within this process, in a tenth of a digest's time."""
    return np.fromiter(map(hash, texts.to_pylist()), np.int64, len(texts))


def _superseded(
    counting: npt.NDArray[np.intp],
    records: npt.NDArray[np.int64],
    written: npt.NDArray[np.int64],
) -> npt.NDArray[np.intp]:
    """Those of the counting rows that are not the newest of their record, in their order."""
    at = np.sort(counting)  # of rows equally new, the last in the store is the newest
    latest = at[newest(records[at], written[at])]
    return counting[~np.isin(counting, latest)] if len(latest) < len(counting) else counting[:0]


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
