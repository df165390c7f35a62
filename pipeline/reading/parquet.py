"""Parquet rows to records, a row group at a time; a damaged group costs its own rows only."""

import io
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.core.errors import StorageError
from pipeline.core.records import Fault, Place, Record, Reject
from pipeline.reading.expansion_limit import Expansion
from pipeline.reading.rows import id_of, row_record

BATCH_ROWS, BATCH_BYTES = 256, 64 * 2**20
"""What is in memory at a time: so many rows, or fewer where a row may take much."""

_DAMAGE = (pa.ArrowException, OSError, ValueError, LookupError)

_NO_VALUE = (ValueError, OverflowError, KeyError, pa.ArrowException)
"""Dates beyond Python's, unknown time zones, struct fields of one name, bytes that are no text."""


def parquet_items(
    uri: str, stream: io.BufferedIOBase, limit: int, expansion: Expansion
) -> Iterator[Record | Reject]:
    """A record or a reject for every row; one reject for the rest of a damaged row group, and for
    one that would be absurdly large in memory.
    """
    try:
        source = pa.PythonFile(stream, mode="r")
        shard = pq.ParquetFile(source)
    except StorageError:
        raise
    except _DAMAGE as error:
        yield _corrupt(uri, 0, f"no Parquet file: {error}")
        return
    start = 0
    for group in range(shard.num_row_groups):
        rows = shard.metadata.row_group(group).num_rows
        try:
            row_bytes = expansion.check_group(source, shard, group)
        except Fault as fault:
            yield fault.at(Place(uri, start), b"")
        except _DAMAGE as error:
            yield _lost(uri, group, range(start, start + rows), error)
        else:
            most = max(min(BATCH_BYTES // max(row_bytes, 1), BATCH_ROWS), 1)
            yield from _group_items(uri, shard, group, range(start, start + rows), limit, most)
        start += rows


def _group_items(
    uri: str, shard: pq.ParquetFile, group: int, rows: range, limit: int, most_rows: int
) -> Iterator[Record | Reject]:
    row = rows.start
    try:
        for batch in shard.iter_batches(batch_size=most_rows, row_groups=[group]):
            for values in _batch_rows(batch):
                yield _item(values, Place(uri, row), limit)
                row += 1
    except StorageError:
        raise
    except _DAMAGE as error:
        yield _lost(uri, group, range(row, rows.stop), error)


def _batch_rows(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    names = batch.schema.names
    for cells in zip(*map(_cells, batch.columns), strict=True):
        yield dict(zip(names, cells, strict=True))


def _cells(column: pa.Array) -> list[Any]:
    try:
        return list(column.to_pylist())
    except _NO_VALUE:
        return [_cell(value) for value in column]


def _cell(value: pa.Scalar) -> Any:
    """A cell whose value Python may have no place for: its text then, or a fault of its row."""
    try:
        return value.as_py()
    except UnicodeDecodeError as error:
        return Fault("not_utf8", f"byte {error.start} of a text is not UTF-8: {error.reason}")
    except _NO_VALUE:
        with suppress(*_NO_VALUE):
            return str(value.cast(pa.string()).as_py())
        return None


def _item(values: dict[str, Any], place: Place, limit: int) -> Record | Reject:
    try:
        for name, value in values.items():
            if isinstance(value, Fault):
                raise Fault(value.reason, f"{name}: {value.detail}")
        if (size := _size(values)) > limit:
            raise Fault("too_large", f"the row holds {size} characters, over {limit}")
        return row_record(values, place)
    except Fault as fault:
        return fault.at(place, _payload(values), id_of(values))


def _size(value: Any) -> int:
    """Characters and bytes in a value, wherever in it they are."""
    if isinstance(value, (str, bytes)):
        return len(value)
    if isinstance(value, dict):
        return sum(map(_size, value.values()))
    if isinstance(value, list):
        return sum(map(_size, value))
    return 0


def _payload(values: dict[str, Any]) -> bytes:
    return orjson.dumps(values, default=str, option=orjson.OPT_NON_STR_KEYS)


def _lost(uri: str, group: int, rows: range, error: Exception) -> Reject:
    detail = f"row group {group} is damaged, {len(rows)} rows are lost: {error}"
    return _corrupt(uri, rows.start, detail)


def _corrupt(uri: str, row: int, detail: str) -> Reject:
    return Fault("corrupt", " ".join(detail.split())).at(Place(uri, row), b"")
