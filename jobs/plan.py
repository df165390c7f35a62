"""`overnight plan`: what a run would do and cost."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from jobs.progress import JobProgress
from pipeline.config import load_job
from pipeline.flow import prepare
from pipeline.runs import foresee
from pipeline.totals import Totals

TOKENS_PER_WORD = 4 / 3
"""Of English prose under common tokenizers, as `CHARACTERS_PER_TOKEN` is."""


def plan(
    console: Console, job_file: str, overrides: Sequence[str], debug: bool
) -> tuple[int, dict[str, Any]]:
    """Exit code 0 and the plan."""
    job = load_job(job_file, overrides)
    prepared = prepare(job)
    with JobProgress(console, f"{job.name}: plan", prepared.input_bytes) as progress:
        totals = foresee(prepared, progress, debug)
    document = _document(totals, job.answer.max_words)
    _show(console, document)
    return 0, document


def _document(totals: Totals, max_words: int) -> dict[str, Any]:
    work = totals.standings["work"]
    return {
        "read": totals.sums["read"],
        "work": work,
        "current": totals.states["current"],
        "current_failed": totals.standings["current_failed"],
        "rejected": totals.states["rejected"],
        "rejects": dict(totals.reasons),
        "estimated_prompt_tokens": totals.sums["estimated_prompt_tokens"],
        "most_completion_tokens": round(work * max_words * TOKENS_PER_WORD),
    }


def _show(console: Console, document: dict[str, Any]) -> None:
    table = Table("a run would", "records", "", box=None, pad_edge=False)
    table.columns[1].justify = "right"
    table.add_row(
        "generate",
        f"{document['work']:,}",
        f"about {document['estimated_prompt_tokens']:,} prompt tokens, "
        f"at most {document['most_completion_tokens']:,} completion tokens",
    )
    failed = document["current_failed"]
    table.add_row(
        "leave as current",
        f"{document['current']:,}",
        f"{failed:,} failed earlier" if failed else "",
    )
    reasons = ", ".join(f"{n:,} {reason}" for reason, n in sorted(document["rejects"].items()))
    table.add_row("reject", f"{document['rejected']:,}", reasons)
    table.add_row("read", f"{document['read']:,}", "")
    console.print(table)
