"""External merge sort: sorts more rows than fit in memory by way of sorted files on disk."""

import heapq
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, TypeAlias

import pyarrow as pa

Row: TypeAlias = tuple[Any, ...]

FILE_BYTES = 64 * 2**20
BATCHES_PER_FILE = 64
"""While files are merged, one batch of each is in memory: a 64th of all rows."""


@dataclass(frozen=True, slots=True)
class SortedFiles:
    """Arrow files, each sorted by its first `key_columns` columns."""

    paths: list[str]
    key_columns: int

    def rows(self, columns: int) -> Iterator[Row]:
        """The first `columns` columns of all rows, in order. Needs about 1 MiB per file."""
        files = (_read(path, columns) for path in self.paths)
        return heapq.merge(*files, key=itemgetter(*range(self.key_columns)))


def sort_rows(
    batches: Iterable[pa.RecordBatch], key_columns: int, folder: str, file_bytes: int = FILE_BYTES
) -> SortedFiles:
    """Sorts batches by their first `key_columns` columns into files in `folder`.

    Needs memory for one batch and twice `file_bytes`.
    """
    paths: list[str] = []
    pending: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        pending.append(batch)
        size += batch.nbytes
        if size >= file_bytes:
            paths.append(_write(pending, key_columns, folder, len(paths)))
            pending, size = [], 0
    if pending:
        paths.append(_write(pending, key_columns, folder, len(paths)))
    return SortedFiles(paths, key_columns)


def _write(
    batches: Sequence[pa.RecordBatch], key_columns: int, folder: str, file_number: int
) -> str:
    rows = pa.Table.from_batches(batches).combine_chunks()
    rows = rows.sort_by([(name, "ascending") for name in rows.column_names[:key_columns]])
    path = os.path.join(folder, f"sorted-{file_number}.arrow")
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with (
        pa.OSFile(path, "wb") as file,
        pa.ipc.new_file(file, rows.schema, options=options) as writer,
    ):
        writer.write_table(rows, max_chunksize=max(1, rows.num_rows // BATCHES_PER_FILE))
    return path


def _read(path: str, columns: int) -> Iterator[Row]:
    options = pa.ipc.IpcReadOptions(included_fields=list(range(columns)))
    with pa.OSFile(path, "rb") as file, pa.ipc.open_file(file, options=options) as reader:
        for number in range(reader.num_record_batches):
            cells = [column.to_pylist() for column in reader.get_batch(number).columns]
            yield from zip(*cells, strict=True)
