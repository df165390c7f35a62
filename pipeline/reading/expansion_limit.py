"""Shards that are small where they are stored and absurd in memory: refused before they are there.

A compressed stream tells as it is read. A Parquet file may also repeat one long text, or one short
list entry, a billion times at no cost; of that its metadata tells a part, and its dictionaries the
rest.
"""

import io
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.core.records import Fault

FREE_BYTES = 64 * 2**20
"""What any shard may hold: hardly a night's work is lost by it."""

BATCH_ROWS = 256
FIXED = "FIXED_LEN_BYTE_ARRAY"

INDEX_BYTES = 4
"""What a value of a Parquet column takes in memory, however short it is."""


@dataclass(frozen=True, slots=True)
class Expansion:
    """How much may come out of what is stored: `most` times as much, and `FREE_BYTES` always."""

    most: float

    def check(self, held: int, stored: int) -> None:
        """Raises `Fault` where so many bytes are too many."""
        if held > max(self.most * stored, FREE_BYTES):
            raise Fault(
                "too_large",
                f"holds over {self.most:g} times what is stored ({stored:,} bytes); "
                "input.max_expansion allows no more",
            )

    def check_group(self, source: pa.NativeFile, file: pq.ParquetFile, number: int) -> int:
        """The same for a row group of the file at the source, before its values are read.

        Returns about how many bytes a row may take at most: the longest value of each column, as
        often as a mean row has values there.
        """
        group = file.metadata.row_group(number)
        _check_columns(source, file, number)
        columns = [group.column(at) for at in range(group.num_columns)]
        stored = sum(column.total_compressed_size for column in columns)
        names, schema = file.schema_arrow.names, file.schema
        values, in_full = Counter[str](), 0
        for at, column in enumerate(columns):
            described = schema.column(at)
            if (path := column.path_in_schema) != described.path:
                raise Fault("corrupt", f"the footer has column {described.path} as {path}")
            values[_name(column, names)] += column.num_values
            width = described.length if column.physical_type == FIXED else 0
            in_full += column.num_values * max(width, INDEX_BYTES)
        self.check(group.total_byte_size + in_full, stored)
        encoded = _Encoded(source, file, number, tuple(filter(_has_dictionary, columns)))
        longest = encoded.longest_values()
        try:
            self.check(sum(longest[name] * values[name] for name in longest), stored)
        except Fault:
            self.check(encoded.bytes_of_values(), stored)  # one long text makes no bomb
        return sum(longest[n] * -(-values[n] // max(group.num_rows, 1)) for n in longest)


class _Untouched(Exception):
    """A reader has come as far as the bytes of a column."""


class _Bytes(io.RawIOBase):
    """As many as a file has, and none to be had."""

    def __init__(self, size: int) -> None:
        self._size, self._at = size, 0

    def seek(self, to: int, whence: int = io.SEEK_SET) -> int:
        self._at = to + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        raise _Untouched


def _check_columns(source: pa.NativeFile, file: pq.ParquetFile, number: int) -> None:
    """Raises what pyarrow finds wrong with what the footer says of a row group's columns.

    Asked for it directly, pyarrow ends the process where that is damaged. Its reader looks at it
    too, and raises; here it comes no further than to the first bytes.
    """
    nothing = pa.PythonFile(_Bytes(source.size()), mode="r")
    reader = pq.ParquetFile(nothing, metadata=file.metadata).reader
    for column in range(file.metadata.num_columns):
        with suppress(_Untouched):
            next(reader.iter_batches(1, [number], [column]), None)


def _name(column: pq.ColumnChunkMetaData, names: Sequence[str]) -> str:
    """Of the column that a leaf of nested values belongs to; names may hold dots themselves."""
    path = str(column.path_in_schema)
    return max((n for n in names if f"{path}.".startswith(f"{n}.")), key=len, default=path)


def _has_dictionary(column: pq.ColumnChunkMetaData) -> bool:
    return column.physical_type == "BYTE_ARRAY" and bool(column.has_dictionary_page)


@dataclass(frozen=True, slots=True)
class _Encoded:
    """The texts of a row group as numbers of entries in dictionaries, which take little memory."""

    source: pa.NativeFile
    file: pq.ParquetFile
    number: int
    columns: tuple[pq.ColumnChunkMetaData, ...]

    def longest_values(self) -> dict[str, int]:
        """Bytes of the longest entry in the dictionaries of each column that has some."""
        first = next(self._batches(1), None)
        if first is None:
            return {}
        return {
            name: max((_longest(found.dictionary) for found in _dictionaries(column)), default=0)
            for name, column in zip(first.schema.names, first.columns, strict=True)
        }

    def bytes_of_values(self) -> int:
        """What all values would take, each in full."""
        return sum(
            int(pc.sum(pc.binary_length(found.dictionary).take(found.indices)).as_py() or 0)
            for batch in self._batches(BATCH_ROWS)
            for column in batch.columns
            for found in _dictionaries(column)
        )

    def _batches(self, rows: int) -> Iterator[pa.RecordBatch]:
        kept = [column.path_in_schema for column in self.columns]
        if kept:
            held = pq.ParquetFile(self.source, metadata=self.file.metadata, read_dictionary=kept)
            yield from held.iter_batches(rows, row_groups=[self.number], columns=kept)


def _longest(values: pa.Array) -> int:
    return int(pc.max(pc.binary_length(values)).as_py() or 0)


def _dictionaries(array: pa.Array) -> Iterator[pa.DictionaryArray]:
    """Those in an array, wherever in it they are."""
    if pa.types.is_dictionary(array.type):
        yield array
    elif pa.types.is_struct(array.type):
        for field in array.flatten():
            yield from _dictionaries(field)
    elif pa.types.is_map(array.type):
        yield from _dictionaries(array.keys)
        yield from _dictionaries(array.items)
    elif pa.types.is_nested(array.type):
        yield from _dictionaries(array.flatten())
