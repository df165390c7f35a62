"""The reader rule: of rows with the same key, the one with the newest `written_at` counts."""

from collections.abc import Iterable, Sequence
from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import pyarrow as pa

DIGEST_BYTES = 16
DIGEST_DTYPE = f"S{DIGEST_BYTES}"
COMPARED_AT_ONCE = 100_000
Digests = npt.NDArray[np.bytes_]
"""16-byte digests, dtype `S16`; NumPy's zero padding is harmless because all have 16 bytes."""


def key_digest(*fields: bytes) -> bytes:
    """16 bytes for a key of several fields, unambiguous about where one field ends."""
    hashed = blake2b(digest_size=DIGEST_BYTES)
    for field in fields:
        hashed.update(len(field).to_bytes(8, "big"))
        hashed.update(field)
    return hashed.digest()


def as_digests(values: Iterable[bytes]) -> Digests:
    return np.frombuffer(b"".join(values), DIGEST_DTYPE)


def row_digests(rows: pa.Table, columns: Sequence[str]) -> Digests:
    """The key of every row, from text columns."""
    keys = zip(*(rows[name].to_pylist() for name in columns), strict=True)
    return as_digests(key_digest(*(cell.encode() for cell in key)) for key in keys)


def written_micros(rows: pa.Table) -> npt.NDArray[np.int64]:
    """`written_at` in microseconds since 1970."""
    return np.asarray(rows["written_at"].cast(pa.int64()).to_numpy(), dtype=np.int64)


def mask_at(positions: npt.NDArray[np.intp], length: int) -> npt.NDArray[np.bool_]:
    """True at the positions, false elsewhere."""
    mask = np.zeros(length, dtype=bool)
    mask[positions] = True
    return mask


def newest(keys: Digests, times: npt.NDArray[np.int64]) -> npt.NDArray[np.intp]:
    """Positions of the rows that count, in order of key; of rows equally new, the last one."""
    order = np.lexsort((times, keys))
    is_last = np.ones(len(order), dtype=bool)
    for start in range(
        0, len(order) - 1, COMPARED_AT_ONCE
    ):  # a sorted copy would double the memory
        chunk = keys[order[start : start + COMPARED_AT_ONCE + 1]]
        is_last[start : start + len(chunk) - 1] = chunk[1:] != chunk[:-1]
    return np.asarray(order[is_last])
