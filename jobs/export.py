"""`overnight export`: the newest answer of every record in one file."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console

from pipeline.config.loading import load_job
from pipeline.core.filesystem import Storage
from pipeline.results.export.files import export_papers, export_records


def export(
    console: Console, job_file: str, overrides: Sequence[str], to: str, wide: bool
) -> tuple[int, dict[str, Any]]:
    """Exit code 0, the file and its rows: records, or papers where it is to be wide."""
    job = load_job(job_file, overrides)
    storage = Storage(job.storage)
    write = export_papers if wide else export_records
    rows = write(storage.at(job.output.uri), to, storage)
    console.print(f"{rows:,} rows in {to}")
    return 0, {"to": to, "rows": rows}
