"""Shards that are small where they are stored and absurd in memory: refused before they are there.

A compressed stream tells as it is read. A Parquet file may also repeat one long text, or one short
list entry, a billion times at no cost; of that its metadata tells a part, and its dictionaries the
rest.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.faults import Fault

FREE_BYTES = 64 * 2**20
"""What any shard may hold: hardly a night's work is lost by it."""

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
        columns = [group.column(at) for at in range(group.num_columns)]
        stored = sum(column.total_compressed_size for column in columns)
        values = Counter[str]()
        for column in columns:
            values[_name(column)] += column.num_values
        self.check(group.total_byte_size + INDEX_BYTES * values.total(), stored)
        longest = _longest_values(source, file, number, columns)
        self.check(sum(longest[name] * values[name] for name in longest), stored)
        return sum(longest[n] * -(-values[n] // max(group.num_rows, 1)) for n in longest)


def _name(column: pq.ColumnChunkMetaData) -> str:
    """Of the column that a leaf of nested values belongs to."""
    return str(column.path_in_schema.partition(".")[0])


def _longest_values(
    source: pa.NativeFile,
    file: pq.ParquetFile,
    number: int,
    columns: Sequence[pq.ColumnChunkMetaData],
) -> dict[str, int]:
    """Bytes of the longest value in the dictionaries of each column that has some."""
    kept = [
        column.path_in_schema
        for column in columns
        if column.physical_type == "BYTE_ARRAY" and column.has_dictionary_page
    ]
    if not kept:
        return {}
    held = pq.ParquetFile(source, metadata=file.metadata, read_dictionary=kept)
    first = next(held.iter_batches(1, row_groups=[number], columns=kept), None)
    if first is None:
        return {}
    return {
        name: max(map(_longest, _dictionaries(column)), default=0)
        for name, column in zip(first.schema.names, first.columns, strict=True)
    }


def _longest(values: pa.Array) -> int:
    return int(pc.max(pc.binary_length(values)).as_py() or 0)


def _dictionaries(array: pa.Array) -> Iterator[pa.Array]:
    """Those of an array, wherever in it they are."""
    if pa.types.is_dictionary(array.type):
        yield array.dictionary
    elif pa.types.is_struct(array.type):
        for field in array.flatten():
            yield from _dictionaries(field)
    elif pa.types.is_map(array.type):
        yield from _dictionaries(array.keys)
        yield from _dictionaries(array.items)
    elif pa.types.is_nested(array.type):
        yield from _dictionaries(array.flatten())
