"""`overnight run`: does the job."""

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from jobs.progress import JobProgress
from pipeline.answering.prepare import Prepared, prepare
from pipeline.cluster.ray_data import RayData
from pipeline.config.schema import Job
from pipeline.config.selection import Selection
from pipeline.core.errors import describe
from pipeline.results.pages.run_page import write_report
from pipeline.run.execute import execute
from pipeline.run.metrics import Metrics
from pipeline.run.notify import check_webhook, notify
from pipeline.run.recorder import EXIT_CODES, Document
from pipeline.store.runs import active_runs


def main(
    console: Console,
    job: Job,
    selection: Selection,
    run_id: str | None,
    debug: bool,
) -> tuple[int, dict[str, Any]]:
    """Exit code and `run.json` of one execution."""
    check_webhook()
    prepared = prepare(job, selection)
    for other in active_runs(prepared.store, job.input.bucket):
        if other == run_id:
            continue  # an earlier start of this run, which has not been silent for long
        console.print(
            f"run {other} is at work on this store too; what both answer counts once", markup=False
        )
    ended: list[Document] = []
    try:
        with JobProgress(console, job.name) as progress:
            watchers = (progress, Metrics(job.name))
            executor = RayData(job.engine, debug)
            document = execute(prepared, executor, watchers, run_id, ended.append)
        _show(console, document, prepared.store.uri)
        if document["status"] in ("done", "over_budget"):
            _report(console, prepared, document["run_id"])
    finally:
        for run_document in ended:
            _notify(console, prepared, run_document)
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


def _report(console: Console, prepared: Prepared, run_id: str) -> None:
    """Writes the page; the run is done whether that succeeds or not."""
    try:
        page = write_report(prepared.store, prepared.job, run_id).uri
    except Exception as error:  # noqa: BLE001  not even a bug in a page makes a night fail
        console.print(
            f"[bold red]no report:[/] {escape(describe(error))}; overnight report writes it"
        )
    else:
        console.print(f"report    {page}")


def _notify(console: Console, prepared: Prepared, document: dict[str, Any]) -> None:
    """Tells whoever is to be told; the run has ended as it has whether that succeeds or not."""
    try:
        told = notify(document, prepared.store, prepared.job.notify)
    except Exception as error:  # noqa: BLE001  as for the page
        console.print(f"[bold red]not notified:[/] {escape(describe(error))}")
    else:
        if told:
            console.print(f"notified  {escape(told)}")


def _listed(counts: dict[str, int]) -> str:
    """Counts by name, the largest first."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count:,} {name}" for name, count in ordered)
