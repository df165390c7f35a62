"""`overnight export`: writes the newest answer of every record to one file."""

from typing import Any

from rich.console import Console

from pipeline.config.schema import Job
from pipeline.core.filesystem import Storage
from pipeline.core.text import plural
from pipeline.results.export.files import Wanted, check_ending, export_papers, export_records
from pipeline.results.export.writers import write_csv, write_raw_csv
from pipeline.store.presence import existing_store


def main(
    console: Console, job: Job, to: str, wide: bool, raw: bool, columns: str | None = None
) -> tuple[int, dict[str, Any]]:
    """Exit code 0, and the file with its number of rows: one per record, or per paper if wide.

    `columns` are those of the file, between commas.
    """
    check_ending(to, wide)
    storage = Storage(job.storage)
    write = export_papers if wide else export_records
    store = existing_store(storage.at(job.output.uri))
    names = [] if columns is None else [name.strip() for name in columns.split(",")]
    wanted = Wanted(job.output.carry, names, write_raw_csv if raw else write_csv)
    rows = write(store, to, storage, wanted)
    console.print(f"{plural(rows, 'row')} in {to}")
    return 0, {"to": to, "rows": rows}
