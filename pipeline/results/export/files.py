"""Exports a store to one file, in the format its extension names."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import PurePosixPath

from pipeline.core.errors import ConfigError, nearest
from pipeline.core.filesystem import Location, Storage
from pipeline.results.export import wide
from pipeline.results.export.writers import RowWriter, write_csv, write_jsonl, write_parquet
from pipeline.results.export.xlsx import check_row_limit, write_xlsx
from pipeline.store.reader import BY_RECORD, count_rows, read_rows
from pipeline.store.schema import ANSWERS

XLSX = ".xlsx"
_TABLE_FORMATS: dict[str, RowWriter] = {
    ".parquet": write_parquet,
    ".csv": write_csv,
    XLSX: write_xlsx,
}
_RECORD_FORMATS: dict[str, RowWriter] = {**_TABLE_FORMATS, ".jsonl": write_jsonl}


def export_records(store: Location, to: str, storage: Storage, csv: RowWriter = write_csv) -> int:
    """Writes the newest answer of every record, with all columns; returns the number of rows.

    Raises `ConfigError` for an unknown extension, or for more rows than the format allows.
    """
    extension, write = _format(to, _RECORD_FORMATS | {".csv": csv})
    with _temporary_file(to, storage) as path:
        if extension == XLSX:
            check_row_limit(count_rows(store, BY_RECORD))
        return write(path, ANSWERS, read_rows(store, BY_RECORD))


def export_papers(store: Location, to: str, storage: Storage, csv: RowWriter = write_csv) -> int:
    """Writes the same answers with one row per paper; returns the number of papers.

    Raises `ConfigError` for an extension that is not a table format, or for more rows or columns
    than the format allows.
    """
    extension, write = _format(to, _TABLE_FORMATS | {".csv": csv})
    with _temporary_file(to, storage) as path:
        rows = read_rows(store, BY_RECORD, wide.COLUMNS)
        table = wide.widen(rows, os.path.dirname(path))
        if extension == XLSX:
            check_row_limit(table.papers)
        if extension == ".parquet":
            return write(path, table.schema, table.tables())
        return write(path, wide.joined_schema(table.schema), map(wide.joined, table.tables()))


def check_ending(to: str, wide: bool) -> None:
    """Raises `ConfigError` if the file's extension names no format for this export."""
    _format(to, _TABLE_FORMATS if wide else _RECORD_FORMATS)


def _format(to: str, formats: Mapping[str, RowWriter]) -> tuple[str, RowWriter]:
    extension = PurePosixPath(to).suffix.lower()
    if extension in formats:
        return extension, formats[extension]
    if extension in _RECORD_FORMATS:
        raise ConfigError(f"--to {to}: --wide writes only {', '.join(sorted(formats))}")
    raise ConfigError(f"--to {to}: no format for {extension!r}{nearest(extension, formats)}")


@contextmanager
def _temporary_file(to: str, storage: Storage) -> Iterator[str]:
    """A local path in a folder of its own. The file replaces `to` unless the block raises."""
    target = storage.at(to)
    with tempfile.TemporaryDirectory(prefix="overnight-export-") as folder:
        path = os.path.join(folder, "export")
        yield path
        target.adopt(path)
