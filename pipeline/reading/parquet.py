"""Reads Parquet rows into records, one row group at a time.

A damaged row group loses only its own rows.
"""

import io
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.core.errors import StorageError
from pipeline.core.records import Fault, Place, Record, Reject
from pipeline.reading.expansion_limit import ExpansionLimit
from pipeline.reading.int96 import CoarseTimes, Int96Columns, exact_time
from pipeline.reading.row_reader import RowReader

BATCH_ROWS, BATCH_BYTES = 256, 64 * 2**20
"""Rows in memory at a time, and their estimated size: large rows come in smaller batches."""

_DAMAGE_ERRORS = (pa.ArrowException, OSError, ValueError, LookupError)

_VALUE_ERRORS = (ValueError, OverflowError, KeyError, pa.ArrowException)
"""For dates out of Python's range, unknown time zones, repeated field names, text not in UTF-8."""


def parquet_items(
    uri: str, stream: io.BufferedIOBase, limit: int, expansion: ExpansionLimit, rows: RowReader
) -> Iterator[Record | Reject]:
    """A record or a reject for every row.

    The rest of a damaged row group becomes one reject, as does a row group beyond `expansion`. Rows
    of more than `limit` characters are rejects, too.
    """
    try:
        source = pa.PythonFile(stream, mode="r")
        shard = pq.ParquetFile(source)
        timestamps = Int96Columns(source, shard)
    except StorageError:
        raise
    except _DAMAGE_ERRORS as error:
        yield _corrupt(uri, 0, f"not a readable Parquet file: {error}")
        return
    start = 0
    for group in range(shard.num_row_groups):
        count = shard.metadata.row_group(group).num_rows
        try:
            row_bytes = expansion.check_group(source, shard, group)
        except Fault as fault:
            yield fault.at(Place(uri, start), b"")
        except _DAMAGE_ERRORS as error:
            yield _lost(uri, group, range(start, start + count), error)
        else:
            batch_rows = max(min(BATCH_BYTES // max(row_bytes, 1), BATCH_ROWS), 1)
            span = range(start, start + count)
            batches = shard.iter_batches(batch_size=batch_rows, row_groups=[group])
            coarse = partial(timestamps.of_group, group, _cells)
            read = partial(_item, limit=limit, rows=rows)
            yield from _group_items(uri, batches, coarse, group, span, read)
        start += count


def _group_items(
    uri: str,
    batches: Iterable[pa.RecordBatch],
    coarse: Callable[[], CoarseTimes],
    group: int,
    rows: range,
    read: Callable[[dict[str, Any], Place], Record | Reject],
) -> Iterator[Record | Reject]:
    row = rows.start
    try:
        times = coarse()
        for batch in batches:
            for values in _batch_rows(batch):
                exact = {name: exact_time(values[name], *next(times[name])) for name in times}
                yield read(values | exact, Place(uri, row))
                row += 1
    except StorageError:
        raise
    except _DAMAGE_ERRORS as error:
        yield _lost(uri, group, range(row, rows.stop), error)


def _batch_rows(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    names = batch.schema.names
    for cells in zip(*map(_cells, batch.columns), strict=True):
        yield dict(zip(names, cells, strict=True))


def _cells(column: pa.Array) -> list[Any]:
    try:
        return list(column.to_pylist())
    except _VALUE_ERRORS:
        return [_cell(value) for value in column]


def _cell(value: pa.Scalar) -> Any:
    """A cell's value, as text if Python has no type for it; a `Fault` for text not in UTF-8."""
    try:
        return value.as_py()
    except UnicodeDecodeError as error:
        return Fault("not_utf8", f"byte {error.start} is not UTF-8: {error.reason}")
    except _VALUE_ERRORS:
        with suppress(*_VALUE_ERRORS):
            return str(value.cast(pa.string()).as_py())
        return None


def _item(values: dict[str, Any], place: Place, limit: int, rows: RowReader) -> Record | Reject:
    def payload() -> bytes:
        return orjson.dumps(values, default=str, option=orjson.OPT_NON_STR_KEYS)

    for name, value in values.items():
        if isinstance(value, Fault):
            fault = Fault(value.reason, f"{name}: {value.detail}")
            return rows.reject(fault, values, place, payload())
    if (size := _size(values)) > limit:
        fault = Fault(
            "too_large", f"the row has {size} characters, over {limit} (input.max_record_bytes)"
        )
        return rows.reject(fault, values, place, payload())
    return rows.item(values, place, payload)


def _size(value: Any) -> int:
    """Characters and bytes in a value, at any depth."""
    if isinstance(value, (str, bytes)):
        return len(value)
    if isinstance(value, dict):
        return sum(map(_size, value.values()))
    if isinstance(value, list):
        return sum(map(_size, value))
    return 0


def _lost(uri: str, group: int, rows: range, error: Exception) -> Reject:
    detail = f"row group {group} is damaged, {len(rows)} rows are lost: {error}"
    return _corrupt(uri, rows.start, detail)


def _corrupt(uri: str, row: int, detail: str) -> Reject:
    return Fault("corrupt", " ".join(detail.split())).at(Place(uri, row), b"")
