"""`overnight run`: answers what the store does not hold yet."""

from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from jobs.hints import show_unnamed, show_unselected
from jobs.progress import JobProgress
from pipeline.answering.prepare import Prepared, prepare
from pipeline.cluster.ray_data import RayData
from pipeline.config.schema import Job
from pipeline.config.selection import Selection
from pipeline.core import carried
from pipeline.core.errors import describe
from pipeline.core.own_id import lines_about
from pipeline.core.text import harmless, plural
from pipeline.results.pages.run_page import write_report_at_end
from pipeline.runs.execute import execute
from pipeline.runs.metrics import Metrics
from pipeline.runs.notify import check_webhook, notify
from pipeline.runs.recorder import EXIT_CODES, Document
from pipeline.store.ending import what_is_left, what_it_cost, why_it_ended
from pipeline.store.runs import active_runs


def main(
    console: Console,
    job: Job,
    selection: Selection,
    run_id: str | None,
    debug: bool,
) -> tuple[int, dict[str, Any]]:
    """Exit code and `run.json` of one run."""
    check_webhook()
    prepared = prepare(job, selection)
    for other in active_runs(prepared.store, job.input.bucket):
        if other != run_id:  # else it is an earlier start of this run, killed a moment ago
            message = (
                f"run {other} is at work on this store too; records that both answer count once"
            )
            console.print(message, markup=False)
    ended: list[Document] = []
    try:
        with JobProgress(console, job.name) as progress:
            watchers = (progress, Metrics(job.name))
            executor = RayData(job.engine, debug)
            document = execute(prepared, executor, watchers, run_id, ended.append)
            is_whole = document["status"] in ("done", "over_budget", "stopped")
            progress.waits_for("writing the report" if is_whole else None)
            report = _report(prepared, document["run_id"]) if is_whole else ""
        _show(console, document, prepared.store.uri)
        show_unselected(console, prepared, document["counts"]["read"])
        show_unnamed(console, document["reject_details"])
        console.print(report, end="")
    finally:
        for run_document in ended:
            _notify(console, prepared, run_document)
    seconds = document["timings"]["total"]
    line = f"run {document['run_id']}: {why_it_ended(document)} in {seconds:.1f} s"
    console.print("; ".join(filter(None, [line, what_it_cost(document), what_is_left(document)])))
    return EXIT_CODES[document["status"]], document


def _show(console: Console, document: dict[str, Any], store: str) -> None:
    counts, run_id = document["counts"], document["run_id"]
    table = Table("state", "records", "details", box=None, pad_edge=False)
    table.columns[1].justify = "right"
    for state, details in (
        ("answered", document["stances"]),
        ("failed", document["failed_checks"]),
        ("rejected", document["rejects"]),
        (
            "current",
            {
                "failed earlier": counts["current_failed"],
                "with columns filled in": counts["filled_in"],
                "judged": counts["judged_again"],
            },
        ),
        ("read", {}),
    ):
        table.add_row(state, f"{counts[state]:,}", _largest_first(details))
    console.print(table)
    console.print()
    columns = carried.lines_about(document["carried"])
    errors = (document["error"] or "").splitlines()
    for line in [
        *errors,
        *_sharing(document),
        *_judging(document),
        *lines_about(document["ids"]),
        *columns,
    ]:
        console.print(harmless(line), markup=False)
    console.print(f"answers   {store}/answers/\nrejects   {store}/rejects/")
    console.print(f"this run  {store}/runs/{run_id}/run.json")


def _sharing(document: dict[str, Any]) -> Iterator[str]:
    if shared := document["sums"].get("shared_generations"):
        yield f"{plural(shared, 'generation')} saved: equal prompts share one"


def _judging(document: dict[str, Any]) -> Iterator[str]:
    """What became of the judge's questions, and what they took."""
    counts, sums = document["counts"], document["sums"]
    if counts["judged"] or counts["unjudged"]:
        names = ("judge_prompt_tokens", "judge_cached_tokens", "judge_completion_tokens")
        prompt, cached, completion = (sums.get(name, 0) for name in names)
        without = f", {counts['unjudged']:,} left without a verdict" if counts["unjudged"] else ""
        yield (
            f"judge: {plural(counts['judged'], 'verdict')}{without}; {prompt - cached:,} tokens "
            f"read beyond the prefix cache, {completion:,} written"
        )


def _largest_first(counts: dict[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count:,} {name}" for name, count in ordered if count)


def _report(prepared: Prepared, run_id: str) -> str:
    """Writes the page about the run, and says where; an error does not make the run fail."""
    try:
        page = write_report_at_end(prepared.store, prepared.job, run_id)
    except Exception as error:  # noqa: BLE001  not even a bug
        reason = escape(describe(error))
        return f"[bold red]no report:[/] {reason}; overnight report writes it\n"
    return f"report    {escape(page.uri)}\n"


def _notify(console: Console, prepared: Prepared, document: Document) -> None:
    """Posts how the run ended; an error here does not make the run fail."""
    try:
        host = notify(document, prepared.store, prepared.job.notify)
    except Exception as error:  # noqa: BLE001  not even a bug
        console.print(f"[bold red]not notified:[/] {escape(describe(error))}")
    else:
        if host:
            console.print(f"notified  {escape(host)}")
