"""Oversized input and decompression bombs: refused before they fill the memory.

A compressed stream is measured as it is decompressed. A Parquet file can also repeat one long text,
or one short list item, a billion times at no cost. Its footer shows a part of that, and its
dictionaries show the rest.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.core.records import Fault
from pipeline.reading.footer_check import check_columns

FREE_BYTES = 64 * 2**20
"""What any shard may expand to: too little to do harm."""

BATCH_ROWS = 256
FIXED = "FIXED_LEN_BYTE_ARRAY"

INDEX_BYTES = 4
"""What even the shortest value of a Parquet column takes in memory."""


@dataclass(frozen=True, slots=True)
class ExpansionLimit:
    """Stored bytes may expand to `factor` times as many, or to `FREE_BYTES` if that is more."""

    factor: float

    def check(self, expanded: int, stored: int) -> None:
        """Raises `Fault` if `stored` bytes may not become `expanded` bytes."""
        if expanded > max(self.factor * stored, FREE_BYTES):
            raise Fault(
                "too_large",
                f"expands to over {self.factor:g} times its stored size ({stored:,} bytes), "
                "which input.max_expansion forbids",
            )

    def check_group(self, source: pa.NativeFile, file: pq.ParquetFile, number: int) -> int:
        """Checks a row group of the Parquet file at `source` before its values are read.

        Returns an upper estimate of the bytes per row: the longest value of each column times the
        mean number of values per row. Raises `Fault`, or pyarrow's error for a damaged footer.
        """
        check_columns(file, source.size(), number)
        group = file.metadata.row_group(number)
        columns = [group.column(index) for index in range(group.num_columns)]
        _check_paths(columns, file.schema)
        stored = sum(column.total_compressed_size for column in columns)
        self.check(group.total_byte_size + _least_bytes(columns, file.schema), stored)
        texts = _EncodedTexts(source, file, number, tuple(filter(_has_dictionary, columns)))
        longest, values = texts.longest_values(), _value_counts(columns, file.schema_arrow.names)
        try:
            self.check(sum(longest[name] * values[name] for name in longest), stored)
        except Fault:
            self.check(texts.bytes_of_values(), stored)  # one long text alone makes no bomb
        return sum(longest[n] * -(-values[n] // max(group.num_rows, 1)) for n in longest)


def _check_paths(columns: Sequence[pq.ColumnChunkMetaData], schema: pq.ParquetSchema) -> None:
    for index, column in enumerate(columns):
        if (path := column.path_in_schema) != (expected := schema.column(index).path):
            raise Fault("corrupt", f"the footer calls column {expected} {path} in a row group")


def _least_bytes(columns: Sequence[pq.ColumnChunkMetaData], schema: pq.ParquetSchema) -> int:
    """What the values take in memory if all texts are empty."""
    widths = (
        schema.column(index).length if column.physical_type == FIXED else 0
        for index, column in enumerate(columns)
    )
    return sum(
        column.num_values * max(width, INDEX_BYTES)
        for column, width in zip(columns, widths, strict=True)
    )


def _value_counts(columns: Sequence[pq.ColumnChunkMetaData], names: Sequence[str]) -> Counter[str]:
    """Values in each top-level column, summed over the leaves below it."""
    counts = Counter[str]()
    for column in columns:
        counts[_top_level(column, names)] += column.num_values
    return counts


def _top_level(column: pq.ColumnChunkMetaData, names: Sequence[str]) -> str:
    """The top-level column above a leaf; names may contain dots themselves."""
    path = str(column.path_in_schema)
    return max((n for n in names if f"{path}.".startswith(f"{n}.")), key=len, default=path)


def _has_dictionary(column: pq.ColumnChunkMetaData) -> bool:
    return column.physical_type == "BYTE_ARRAY" and bool(column.has_dictionary_page)


@dataclass(frozen=True, slots=True)
class _EncodedTexts:
    """The texts of a row group, read as dictionaries and indices, which take little memory."""

    source: pa.NativeFile
    file: pq.ParquetFile
    number: int
    columns: tuple[pq.ColumnChunkMetaData, ...]

    def longest_values(self) -> dict[str, int]:
        """Bytes of the longest dictionary entry, for each column with a dictionary."""
        first = next(self._batches(1), None)
        if first is None:
            return {}
        return {
            name: max((_longest(texts.dictionary) for texts in _dictionaries(column)), default=0)
            for name, column in zip(first.schema.names, first.columns, strict=True)
        }

    def bytes_of_values(self) -> int:
        """What all values would take in full."""
        return sum(
            int(pc.sum(pc.binary_length(texts.dictionary).take(texts.indices)).as_py() or 0)
            for batch in self._batches(BATCH_ROWS)
            for column in batch.columns
            for texts in _dictionaries(column)
        )

    def _batches(self, rows: int) -> Iterator[pa.RecordBatch]:
        paths = [column.path_in_schema for column in self.columns]
        if paths:
            file = pq.ParquetFile(self.source, metadata=self.file.metadata, read_dictionary=paths)
            yield from file.iter_batches(rows, row_groups=[self.number], columns=paths)


def _longest(values: pa.Array) -> int:
    return int(pc.max(pc.binary_length(values)).as_py() or 0)


def _dictionaries(array: pa.Array) -> Iterator[pa.DictionaryArray]:
    """All dictionary arrays in an array, at any depth."""
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
