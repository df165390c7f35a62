"""What tells records apart: their ids, their content, and where they stand in the input."""

from dataclasses import fields
from hashlib import blake2b
from operator import attrgetter
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.core.arrow import IDENTITY_BYTES
from pipeline.core.extra import dump_extra
from pipeline.core.records import Record

Rows: TypeAlias = npt.NDArray[np.uint64]
"""One column a record, of shape (3, n): the digest of its id, the digest of its content, and the
number of its place, which orders the records of an input."""

ROWS_OF_A_SHARD = 2**40

_content_fields = attrgetter(
    *(
        field.name
        for field in fields(Record)
        if field.name not in ("record_id", "place", "extra", "repairs")
    )
)


def content_of(record: Record) -> bytes:
    """All that a record says, as bytes; its place and how it was written are no part of that."""
    said = orjson.dumps(_content_fields(record), default=_plain, option=orjson.OPT_NON_STR_KEYS)
    return said + (dump_extra(record.extra) or b"")


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, tuple) else str(value)


def identity(record_id: str, content: bytes, shard: int, row: int) -> bytes:
    """The identity of a record in the shard of this number: a column of `Rows`."""
    place = shard * ROWS_OF_A_SHARD + row
    return _digest(record_id.encode()) + _digest(content) + place.to_bytes(8, "big")


def identities_in(column: pa.ChunkedArray) -> Rows:
    """Those of a table's rows; a row without one has zeros."""
    filled = pc.fill_null(column, b"\0" * IDENTITY_BYTES)
    return as_rows(b"".join(filled.to_pylist()))


def as_rows(identities: bytes) -> Rows:
    return np.frombuffer(identities, ">u8").reshape(-1, 3).T.astype(np.uint64, order="C")


def as_identities(rows: Rows) -> pa.Array:
    """The column that `identities_in` reads."""
    data = pa.py_buffer(rows.T.astype(">u8").tobytes())
    return pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(IDENTITY_BYTES), rows.shape[1], [None, data]
    )


def id_digest(record_id: str) -> int:
    """The digest of an id as `Rows` have it."""
    return int.from_bytes(_digest(record_id.encode()), "big")


def _digest(data: bytes) -> bytes:
    return blake2b(data, digest_size=8).digest()
