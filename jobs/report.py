"""`overnight report`: the page about a run."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console

from pipeline.config.loading import load_job
from pipeline.core.filesystem import Storage
from pipeline.results.pages.run_page import write_report


def report(
    console: Console, job_file: str, overrides: Sequence[str], run_id: str | None
) -> tuple[int, dict[str, Any]]:
    """Exit code 0 and where the page is."""
    job = load_job(job_file, overrides)
    page = write_report(Storage(job.storage).at(job.output.uri), job, run_id)
    console.print(page.uri, markup=False)
    return 0, {"report": page.uri}
