"""Exports a store to one file, in the format its extension names."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath

import pyarrow as pa

from pipeline.core.carried import NOTHING, Carry
from pipeline.core.errors import ConfigError, nearest
from pipeline.core.filesystem import Location, Storage
from pipeline.results.corrections.standing import standing
from pipeline.results.export import wide
from pipeline.results.export.columns import NONE_ADDED, SPREAD, Layout, carried_kinds
from pipeline.results.export.people import SaidOfAnswers, said_by_people, with_people
from pipeline.results.export.writers import RowWriter, write_csv, write_jsonl, write_parquet
from pipeline.results.export.xlsx import check_row_limit, write_xlsx
from pipeline.results.other_models import other_models
from pipeline.store.reader import BY_GENERATION, BY_RECORD, count_rows, read_rows

XLSX, JSONL = ".xlsx", ".jsonl"
_TABLE_FORMATS: dict[str, RowWriter] = {
    ".parquet": write_parquet,
    ".csv": write_csv,
    XLSX: write_xlsx,
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an export is to hold: the columns that a job carries, and those that it is asked for, by
    default all. `csv` writes a `.csv`.
    """

    carry: Carry = NOTHING
    columns: Sequence[str] = ()
    csv: RowWriter = write_csv


ALL = Wanted()


def export_records(store: Location, to: str, storage: Storage, wanted: Wanted = ALL) -> int:
    """Writes the newest answer of every record; returns the number of rows.

    Raises `ConfigError` for an unknown extension or column, or for more rows than the format
    allows.
    """
    extension = _format(to, (*_TABLE_FORMATS, JSONL))
    with _temporary_file(to, storage) as path:
        if extension == XLSX:
            check_row_limit(count_rows(store, BY_RECORD))
        said = said_by_people(standing(store))
        human = frozenset[str]().union(*said.values())
        kinds = carried_kinds(_rows(store, SPREAD, said), wanted.carry, human)
        others = other_models(store)
        layout = Layout.of(kinds, wanted.columns, human, others.added if others else NONE_ADDED)
        rows = _rows(store, layout.stored, said)
        if extension == JSONL:
            return write_jsonl(path, map(layout.json_table, rows), frozenset(layout.carried))
        write = (_TABLE_FORMATS | {".csv": wanted.csv})[extension]
        return write(path, layout.schema, map(layout.table, rows))


def _rows(store: Location, columns: Sequence[str], said: SaidOfAnswers) -> Iterator[pa.Table]:
    """The newest row of every record, with what people say of it if they say anything at all."""
    wanted = dict.fromkeys([*columns, *BY_GENERATION]) if said else columns
    return (with_people(rows, said) for rows in read_rows(store, BY_RECORD, [*wanted]))


def export_papers(store: Location, to: str, storage: Storage, wanted: Wanted = ALL) -> int:
    """Writes the same answers with one row per paper; returns the number of papers.

    Raises `ConfigError` for an extension that is not a table format, an unknown column, or for more
    rows or columns than the format allows.
    """
    extension = _format(to, tuple(_TABLE_FORMATS))
    with _temporary_file(to, storage) as path:
        rows = read_rows(store, BY_RECORD, wide.COLUMNS)
        folder = os.path.dirname(path)
        table = wide.widen(rows, folder, carry=wanted.carry, columns=wanted.columns)
        if extension == XLSX:
            check_row_limit(table.papers)
        write = (_TABLE_FORMATS | {".csv": wanted.csv})[extension]
        if extension == ".parquet":
            return write(path, table.schema, table.tables())
        return write(path, table.joined_schema, table.joined_tables())


def export_table(table: pa.Table, to: str, storage: Storage, csv: RowWriter = write_csv) -> int:
    """Writes a table without nested columns; returns the number of rows.

    Raises `ConfigError` for an unknown extension, or for more rows than the format allows.
    """
    extension = _format(to, (*_TABLE_FORMATS, JSONL))
    with _temporary_file(to, storage) as path:
        if extension == JSONL:
            return write_jsonl(path, [table], frozenset())
        if extension == XLSX:
            check_row_limit(table.num_rows)
        write = (_TABLE_FORMATS | {".csv": csv})[extension]
        return write(path, table.schema, [table])


def check_ending(to: str, wide: bool) -> None:
    """Raises `ConfigError` if the file's extension names no format for this export."""
    _format(to, tuple(_TABLE_FORMATS) if wide else (*_TABLE_FORMATS, JSONL))


def _format(to: str, formats: Sequence[str]) -> str:
    extension = PurePosixPath(to).suffix.lower()
    if extension in formats:
        return extension
    if extension == JSONL:
        raise ConfigError(f"--to {to}: --wide writes only {', '.join(sorted(formats))}")
    raise ConfigError(f"--to {to}: no format for {extension!r}{nearest(extension, formats)}")


@contextmanager
def _temporary_file(to: str, storage: Storage) -> Iterator[str]:
    """A local path in a folder of its own. The file replaces `to` unless the block raises."""
    target = storage.target(to)
    with tempfile.TemporaryDirectory(prefix="overnight-export-") as folder:
        path = os.path.join(folder, "export")
        yield path
        target.adopt(path)
