"""Reads INT96 timestamps, as Spark, Hive and Impala write them, without a wrong date.

Arrow reads them as nanoseconds in 64 bits, which hold 1677 to 2262, and lets all other dates wrap
around. So such columns are read in coarser units as well, which say what the date is.
"""

import datetime
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

_YEARS = range(1678, 2262)
"""All of whose nanoseconds fit."""

CoarseTimes: TypeAlias = Mapping[str, Iterator[tuple[Any, Any]]]
"""By column the values of its rows in microseconds and in seconds."""


class Int96Columns:
    """The columns of a Parquet file with INT96 timestamps at any depth; in most files, none."""

    def __init__(self, source: pa.NativeFile, file: pq.ParquetFile) -> None:
        self.names = sorted(set(_names(file)))
        self._files = [
            pq.ParquetFile(source, metadata=file.metadata, coerce_int96_timestamp_unit=unit)
            for unit in (("us", "s") if self.names else ())
        ]

    def of_group(self, group: int, cells: Callable[[pa.Array], list[Any]]) -> CoarseTimes:
        tables = [file.read_row_group(group, columns=self.names) for file in self._files]
        return {
            name: zip(*(_values(table[name], cells) for table in tables), strict=True)
            for name in self.names
        }


def exact_time(value: Any, microseconds: Any, seconds: Any) -> Any:
    """A value with every timestamp in it right: as it is, or as text if it has wrapped around.

    Beyond the year 9999 timestamps are exact to the second.
    """
    if isinstance(value, dict) and isinstance(microseconds, dict) and isinstance(seconds, dict):
        return {k: exact_time(v, microseconds.get(k), seconds.get(k)) for k, v in value.items()}
    if isinstance(value, list) and isinstance(microseconds, list) and isinstance(seconds, list):
        return list(map(exact_time, value, microseconds, seconds))
    if isinstance(seconds, datetime.datetime):
        return value if seconds.year in _YEARS else str(microseconds)
    return value if seconds is None else seconds


def _values(column: pa.ChunkedArray, cells: Callable[[pa.Array], list[Any]]) -> Iterator[Any]:
    for chunk in column.chunks:
        for start in range(0, len(chunk), 256):
            yield from cells(chunk.slice(start, 256))


def _names(file: pq.ParquetFile) -> Iterator[str]:
    """Top-level columns above INT96 leaves; names may contain dots themselves."""
    names = file.schema_arrow.names
    for leaf in map(file.schema.column, range(len(file.schema))):
        if leaf.physical_type == "INT96":
            yield max((n for n in names if f"{leaf.path}.".startswith(f"{n}.")), key=len)
