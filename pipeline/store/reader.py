"""The rows of a store that count, part by part, in memory bounded by a few parts.

The reader rule: of rows with the same key, the one with the newest `written_at` counts.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.core.filesystem import Location
from pipeline.store.parts import MOST_LISTINGS, PartGone, read_batches, read_parts, with_parts
from pipeline.store.schema import ANSWERS, ANSWERS_FOLDER

BY_GENERATION = ("record_id", "generation_key")
"""The reader rule's key: one row per record and prompt, model and sampling."""

BY_RECORD = ("record_id",)
"""One row per record: its newest answer under any prompt, model or sampling."""

DIGEST_BYTES = 16
DIGEST_DTYPE = f"S{DIGEST_BYTES}"
COMPARED_AT_ONCE = 100_000
Digests = npt.NDArray[np.bytes_]
"""16-byte digests, dtype `S16`; NumPy's zero padding is harmless because all have 16 bytes."""
Hashes = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class PartRows:
    """The keys of a part's rows, and which of the rows count; arrays of equal length."""

    path: str
    keys: Digests
    counts: npt.NDArray[np.bool_]
    has_ties: bool  # some row that does not count is as new as the one that counts instead


def counting_rows(folder: Location, by: Sequence[str] = BY_GENERATION) -> list[PartRows]:
    """Which rows of each part in `answers/` count, in the order of the parts."""
    return with_parts(folder, lambda parts: _counting_rows(folder, parts, by))


def _counting_rows(folder: Location, parts: Sequence[str], by: Sequence[str]) -> list[PartRows]:
    keys, times = [as_digests([])], [np.empty(0, np.int64)]
    for rows in read_parts(folder.fs, parts, [*by, "written_at"]):
        keys.append(row_digests(rows, by))
        times.append(written_micros(rows))
    all_keys, written = np.concatenate(keys), np.concatenate(times)
    counting = newest(all_keys, written)
    counts = mask_at(counting, len(all_keys))
    (others,) = np.nonzero(~counts)
    rivals = counting[np.searchsorted(all_keys[counting], all_keys[others])]
    ties = np.zeros(len(all_keys), dtype=bool)
    ties[others] = written[others] == written[rivals]
    borders = np.cumsum([len(k) for k in keys[1:]])[:-1]
    return [
        PartRows(path, part_keys, part_counts, bool(part_ties.any()))
        for path, part_keys, part_counts, part_ties in zip(
            parts, keys[1:], np.split(counts, borders), np.split(ties, borders), strict=False
        )
    ]


def count_rows(store: Location, by: Sequence[str] = BY_GENERATION) -> int:
    """The number of rows that `read_rows` would yield now."""
    folder = store.join(ANSWERS_FOLDER)
    return sum(int(part.counts.sum()) for part in counting_rows(folder, by))


def read_rows(
    store: Location,
    by: Sequence[str] = BY_GENERATION,
    columns: Sequence[str] = ANSWERS.names,
    only: Digests | None = None,
) -> Iterator[pa.Table]:
    """The newest row of every key, in the order of the parts, some thousand rows at a time.

    Yields each row once, even if parts are compacted meanwhile. A column may be a field of a nested
    one, by its path in the file: `checks.list.element.name`. With `only`, yields the rows of these
    keys, and does not read the columns of parts without any.
    """
    folder = store.join(ANSWERS_FOLDER)
    yielded = [as_digests([])]
    for listing in range(MOST_LISTINGS):
        before = np.concatenate(yielded)
        try:
            for part in counting_rows(folder, by):
                wanted = part.counts & ~np.isin(part.keys, before)
                if only is not None:
                    wanted &= np.isin(part.keys, only)
                at = 0
                for rows in read_batches(folder.fs, part.path, columns) if wanted.any() else ():
                    here = slice(at, at := at + rows.num_rows)
                    yielded.append(part.keys[here][wanted[here]])
                    yield rows.filter(pa.array(wanted[here]))
        except PartGone:
            if listing == MOST_LISTINGS - 1:
                raise
        else:
            return


def key_digest(*fields: bytes) -> bytes:
    """16 bytes for a key of several fields, unambiguous about where one field ends."""
    hashed = blake2b(digest_size=DIGEST_BYTES)
    for field in fields:
        hashed.update(len(field).to_bytes(8, "big") + field)
    return hashed.digest()


def as_digests(values: Iterable[bytes]) -> Digests:
    return np.frombuffer(b"".join(values), DIGEST_DTYPE)


def row_digests(rows: pa.Table, columns: Sequence[str]) -> Digests:
    """The key of every row, from text columns."""
    return as_digests(row_keys(rows, columns))


def row_keys(rows: pa.Table, columns: Sequence[str] = BY_GENERATION) -> list[bytes]:
    """The same as bytes, for sets and counters: NumPy would drop zeros at their ends.

    A null counts as an empty text.
    """
    keys = zip(*(rows[name].to_pylist() for name in columns), strict=True)
    return [key_digest(*((cell or "").encode() for cell in key)) for key in keys]


def written_micros(rows: pa.Table) -> npt.NDArray[np.int64]:
    """`written_at` in microseconds since 1970."""
    return np.asarray(rows["written_at"].cast(pa.int64()).to_numpy(), dtype=np.int64)


def mask_at(positions: npt.NDArray[np.intp], length: int) -> npt.NDArray[np.bool_]:
    """True at the positions, false elsewhere."""
    mask = np.zeros(length, dtype=bool)
    mask[positions] = True
    return mask


def newest(keys: Digests | Hashes, times: npt.NDArray[np.int64]) -> npt.NDArray[np.intp]:
    """Positions of the rows that count, in order of key; of rows equally new, the last one."""
    order = np.lexsort((times, keys))
    is_last = np.ones(len(order), dtype=bool)
    # All at once, a sorted copy would double the memory.
    for start in range(0, len(order) - 1, COMPARED_AT_ONCE):
        chunk = keys[order[start : start + COMPARED_AT_ONCE + 1]]
        is_last[start : start + len(chunk) - 1] = chunk[1:] != chunk[:-1]
    return np.asarray(order[is_last])
