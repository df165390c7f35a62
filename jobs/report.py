"""`overnight report`: writes the page about a run."""

from typing import Any

from rich.console import Console

from pipeline.config.schema import Job
from pipeline.core.filesystem import Storage
from pipeline.results.pages.run_page import write_report
from pipeline.store.presence import existing_store


def main(console: Console, job: Job, run_id: str | None) -> tuple[int, dict[str, Any]]:
    """Exit code 0, and the URI of the page."""
    page = write_report(existing_store(Storage(job.storage).at(job.output.uri)), job, run_id)
    console.print(page.uri, markup=False)
    return 0, {"report": page.uri}
