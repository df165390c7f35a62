"""One file from a store, by its ending; it appears whole or not at all."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import PurePosixPath

from pipeline.core.errors import ConfigError, nearest
from pipeline.core.filesystem import Location, Storage
from pipeline.results.export import wide
from pipeline.results.export.writers import RowWriter, write_csv, write_jsonl, write_parquet
from pipeline.results.export.xlsx import must_fit, write_xlsx
from pipeline.store.reader import LATEST, count_rows, read_rows
from pipeline.store.schema import ANSWERS

XLSX = ".xlsx"
_TABLES: dict[str, RowWriter] = {".parquet": write_parquet, ".csv": write_csv, XLSX: write_xlsx}
_RECORDS: dict[str, RowWriter] = {**_TABLES, ".jsonl": write_jsonl}


def export_records(store: Location, to: str, storage: Storage) -> int:
    """Writes the newest answer of every record, with all columns; returns how many.

    Raises `ConfigError` for an unknown ending, and for rows that do not fit.
    """
    ending, write = _format(to, _RECORDS)
    with _draft(to, storage) as draft:
        if ending == XLSX:
            must_fit(count_rows(store, LATEST))
        return write(draft, ANSWERS, read_rows(store, LATEST))


def export_papers(store: Location, to: str, storage: Storage) -> int:
    """Writes the same answers, one row a paper; returns how many papers.

    Raises `ConfigError` for an ending that names no table, and for rows and columns that do not
    fit.
    """
    ending, write = _format(to, _TABLES)
    with _draft(to, storage) as draft:
        rows = read_rows(store, LATEST, wide.COLUMNS)
        papers = wide.widen(rows, os.path.dirname(draft))
        if ending == XLSX:
            must_fit(papers.papers)
        if ending == ".parquet":
            return write(draft, papers.schema, papers.tables())
        return write(draft, wide.joined_schema(papers.schema), map(wide.joined, papers.tables()))


def _format(to: str, formats: Mapping[str, RowWriter]) -> tuple[str, RowWriter]:
    ending = PurePosixPath(to).suffix.lower()
    if ending in formats:
        return ending, formats[ending]
    if ending in _RECORDS:
        raise ConfigError(f"--to {to}: with --wide it ends in {', '.join(sorted(formats))}")
    raise ConfigError(f"--to {to}: no format for {ending!r}{nearest(ending, formats)}")


@contextmanager
def _draft(to: str, storage: Storage) -> Iterator[str]:
    """A local path, alone in its folder, that becomes the file when the block is left in peace."""
    target = storage.at(to)
    with tempfile.TemporaryDirectory(prefix="overnight-export-") as folder:
        draft = os.path.join(folder, "export")
        yield draft
        target.adopt(draft)
