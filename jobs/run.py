"""`overnight run`: does the job."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from jobs.progress import JobProgress
from pipeline.config import load_job
from pipeline.flow import prepare
from pipeline.runs import EXIT_CODES, execute
from pipeline.selection import Selection
from pipeline.store.runs import running


def run(
    console: Console,
    job_file: str,
    overrides: Sequence[str],
    selection: Selection,
    debug: bool,
) -> tuple[int, dict[str, Any]]:
    """Exit code and `run.json` of one execution."""
    job = load_job(job_file, overrides)
    prepared = prepare(job, selection)
    for other in running(prepared.store):
        console.print(
            f"run {other} is at work on this store too; what both answer counts once", markup=False
        )
    with JobProgress(console, job.name) as progress:
        document = execute(prepared, progress, debug)
    _show(console, document, prepared.store.uri)
    return EXIT_CODES[document["status"]], document


def _show(console: Console, document: dict[str, Any], store: str) -> None:
    counts = document["counts"]
    table = Table("state", "records", "of which", box=None, pad_edge=False)
    table.columns[1].justify = "right"
    for state, detail in (
        ("answered", _listed(document["stances"])),
        ("failed", _listed(document["failed_checks"])),
        ("rejected", _listed(document["rejects"])),
        (
            "current",
            f"{counts['current_failed']} failed earlier" if counts["current_failed"] else "",
        ),
    ):
        table.add_row(state, f"{counts[state]:,}", detail)
    table.add_row("read", f"{counts['read']:,}", "")
    console.print(table)
    seconds = document["timings"]["total"]
    console.print(f"\nrun {document['run_id']}: {document['status']} in {seconds:.1f} s")
    console.print(f"answers   {store}/answers/\nrejects   {store}/rejects/")
    console.print(f"this run  {store}/runs/{document['run_id']}/run.json")


def _listed(counts: dict[str, int]) -> str:
    """Counts by name, the largest first."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count:,} {name}" for name, count in ordered)
