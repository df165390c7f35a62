"""Rows in order, though there are more than memory holds: sorted runs on disk, merged."""

import heapq
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, TypeAlias

import pyarrow as pa

Row: TypeAlias = tuple[Any, ...]

RUN_BYTES = 64 * 2**20
STEPS = 64
"""In which a run is read: of all runs a 64th is held, and at least a row of each."""


@dataclass(frozen=True, slots=True)
class Runs:
    """Runs of rows that are each in order of their first columns."""

    paths: list[str]
    keys: int

    def rows(self, columns: int) -> Iterator[Row]:
        """The first columns of all rows, in order; holds about 1 MiB a run."""
        runs = (_read(path, columns) for path in self.paths)
        return heapq.merge(*runs, key=itemgetter(*range(self.keys)))


def sort_rows(
    batches: Iterable[pa.RecordBatch], keys: int, folder: str, run_bytes: int = RUN_BYTES
) -> Runs:
    """Sorts batches, by so many of their first columns, into files of a folder.

    Holds `run_bytes` of rows twice, and a batch.
    """
    paths: list[str] = []
    pile: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        pile.append(batch)
        size += batch.nbytes
        if size >= run_bytes:
            paths.append(_write(pile, keys, folder, len(paths)))
            pile, size = [], 0
    if pile:
        paths.append(_write(pile, keys, folder, len(paths)))
    return Runs(paths, keys)


def _write(pile: Sequence[pa.RecordBatch], keys: int, folder: str, number: int) -> str:
    rows = pa.Table.from_batches(pile).combine_chunks()
    rows = rows.sort_by([(name, "ascending") for name in rows.column_names[:keys]])
    path = os.path.join(folder, f"run-{number}.arrow")
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.OSFile(path, "wb") as file, pa.ipc.new_file(file, rows.schema, options=options) as run:
        run.write_table(rows, max_chunksize=max(1, rows.num_rows // STEPS))
    return path


def _read(path: str, columns: int) -> Iterator[Row]:
    options = pa.ipc.IpcReadOptions(included_fields=list(range(columns)))
    with pa.OSFile(path, "rb") as file, pa.ipc.open_file(file, options=options) as run:
        for step in range(run.num_record_batches):
            cells = [column.to_pylist() for column in run.get_batch(step).columns]
            yield from zip(*cells, strict=True)
