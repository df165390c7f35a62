"""`overnight export`: writes the newest answer of every record to one file."""

from typing import Any

from rich.console import Console

from pipeline.config.schema import Job
from pipeline.core.errors import ConfigError
from pipeline.core.filesystem import Storage
from pipeline.core.text import plural
from pipeline.results.export.files import Wanted, check_ending, export_papers, export_records
from pipeline.results.export.writers import write_csv, write_raw_csv
from pipeline.results.review.sheet import check_format, write_sheet
from pipeline.store.presence import existing_store


def main(
    console: Console,
    job: Job,
    to: str,
    wide: bool,
    raw: bool,
    columns: str | None = None,
    review: int | None = None,
    seed: int = 0,
) -> tuple[int, dict[str, Any]]:
    """Exit code 0, and the file with its number of rows: one per record, or per paper if wide.

    `columns` are those of the file, between commas. With `review`, it is a reading sheet of this
    many answers, drawn under the seed.
    """
    if review is not None:
        return _review(console, job, to, review, seed, wide or raw or columns is not None)
    check_ending(to, wide)
    storage = Storage(job.storage)
    write = export_papers if wide else export_records
    store = existing_store(storage.at(job.output.uri))
    names = [] if columns is None else [name.strip() for name in columns.split(",")]
    wanted = Wanted(job.output.carry, names, write_raw_csv if raw else write_csv)
    rows = write(store, to, storage, wanted)
    console.print(f"{plural(rows, 'row')} in {to}")
    return 0, {"to": to, "rows": rows}


def _review(
    console: Console, job: Job, to: str, wanted: int, seed: int, has_others: bool
) -> tuple[int, dict[str, Any]]:
    if has_others:
        raise ConfigError("--review: a reading sheet has columns of its own; leave out the others")
    if wanted < 1:
        raise ConfigError(f"--review {wanted}: name how many answers a person is to read")
    check_format(to)
    storage = Storage(job.storage)
    sheet = write_sheet(existing_store(storage.at(job.output.uri)), to, storage, wanted, seed)
    console.print(
        f"{plural(sheet.answers, 'answer')} to read in {to}, {plural(sheet.rows, 'row')}; fill in "
        "value and annotator, then overnight correct takes it in",
        markup=False,
    )
    return 0, {"to": to, "rows": sheet.rows, "answers": sheet.answers, "seed": seed}
