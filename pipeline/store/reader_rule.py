"""The reader rule: of rows with the same key, the one with the newest `written_at` counts."""

from collections.abc import Iterable, Sequence
from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import pyarrow as pa

DIGEST_BYTES = 16
DIGEST = f"S{DIGEST_BYTES}"
AT_ONCE = 100_000
Digests = npt.NDArray[np.bytes_]
"""16-byte digests, dtype `S16`; NumPy's zero padding is harmless where all are 16 long."""


def digest(*parts: bytes) -> bytes:
    """16 bytes for a key of several parts, whose borders count."""
    hashed = blake2b(digest_size=DIGEST_BYTES)
    for part in parts:
        hashed.update(len(part).to_bytes(8, "big"))
        hashed.update(part)
    return hashed.digest()


def as_digests(values: Iterable[bytes]) -> Digests:
    return np.frombuffer(b"".join(values), DIGEST)


def row_digests(rows: pa.Table, columns: Sequence[str]) -> Digests:
    """The key of every row, from text columns."""
    cells = (rows[name].to_pylist() for name in columns)
    return as_digests(digest(*(cell.encode() for cell in key)) for key in zip(*cells, strict=True))


def micros(rows: pa.Table) -> npt.NDArray[np.int64]:
    """`written_at` in microseconds since 1970."""
    return np.asarray(rows["written_at"].cast(pa.int64()).to_numpy(), dtype=np.int64)


def flags(positions: npt.NDArray[np.intp], length: int) -> npt.NDArray[np.bool_]:
    """True at the positions, false elsewhere."""
    marked = np.zeros(length, dtype=bool)
    marked[positions] = True
    return marked


def newest(keys: Digests, times: npt.NDArray[np.int64]) -> npt.NDArray[np.intp]:
    """Positions of the rows that count, in order of key; of equal times the last row does."""
    order = np.lexsort((times, keys))
    last = np.ones(len(order), dtype=bool)
    for start in range(0, len(order) - 1, AT_ONCE):  # a sorted copy would double the memory
        some = keys[order[start : start + AT_ONCE + 1]]
        last[start : start + len(some) - 1] = some[1:] != some[:-1]
    return np.asarray(order[last])
