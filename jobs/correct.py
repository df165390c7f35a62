"""`overnight correct`: takes a corrections file into the store."""

from datetime import UTC, datetime
from typing import Any

from rich.console import Console

from pipeline.answering.checks import check_names
from pipeline.config.schema import Job
from pipeline.core.errors import ConfigError
from pipeline.core.filesystem import Location, Storage, storage_errors
from pipeline.core.text import harmless, plural
from pipeline.results.corrections.taking_in import TakenIn, take_in
from pipeline.store.corrections import Correction
from pipeline.store.corrections_file import as_cells, file_rows
from pipeline.store.presence import existing_store

SHOWN = 50
"""Lines about rejects and stale corrections that a terminal shows; `--json` has all."""


def main(
    console: Console, job: Job, file: str, annotator: str | None, field: str | None
) -> tuple[int, dict[str, Any]]:
    """Exit code 0, or 1 if rows were rejected, and what became of the file's rows.

    `annotator` and `field` stand where a row has none.
    """
    storage = Storage(job.storage)
    store = existing_store(storage.at(job.output.uri))
    rows = file_rows(file, _content(storage.at(file)))
    defaults = {"annotator": annotator or "", "field": field or ""}
    checks, now = check_names(job.checks), datetime.now(UTC)
    taken = take_in(store, rows, checks, now, defaults, job.output.append_only)
    _show(console, file, taken)
    return (1 if taken.rejects else 0), {
        "file": file,
        "added": len(taken.added),
        "known": taken.known,
        "blank": taken.blank,
        "stale": [as_cells(c) for c in taken.stale],
        "rejects": [reject._asdict() for reject in taken.rejects],
    }


def _content(file: Location) -> bytes:
    found = file.found()
    if found is None or found.is_folder:
        raise ConfigError(f"{file.uri}: no such file; name the corrections file")
    with storage_errors(file.uri):
        content: bytes = file.fs.cat_file(file.path)
    return content


def _show(console: Console, file: str, taken: TakenIn) -> None:
    console.print(
        f"{plural(len(taken.added), 'correction')} added, {taken.known:,} known already, "
        f"{plural(taken.blank, 'row')} without a value",
        markup=False,
    )
    lines = [f"{file}: line {r.line}: {r.why}" for r in taken.rejects]
    lines += [f"stale, about another text than today's: {_named(c)}" for c in taken.stale]
    for line in lines[:SHOWN]:
        console.print(harmless(line), markup=False, emoji=False)
    if len(lines) > SHOWN:
        console.print(f"… and {len(lines) - SHOWN:,} more, see --json")
    if taken.rejects:
        console.print(
            f"{plural(len(taken.rejects), 'row')} left out; correct them and take the file in "
            "again: what is in the store already is not added twice"
        )


def _named(c: Correction) -> str:
    return f"{c.record_id}, {c.field}, {c.annotator}"
