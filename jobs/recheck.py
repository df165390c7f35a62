"""`overnight recheck`: extraction and checks again over stored completions, no engine."""

from collections import Counter
from typing import Any

from rich.console import Console
from rich.table import Table

from pipeline.answering.checks import chosen_checks
from pipeline.answering.recheck import Rechecked, Verdict
from pipeline.config.schema import Job
from pipeline.core.text import harmless
from pipeline.run.recheck import recheck_store

SHOWN = 100
"""Changed verdicts that a terminal gets to see; `--json` lists all."""


def main(console: Console, job: Job, debug: bool) -> tuple[int, dict[str, Any]]:
    """Exit code 0 and every verdict that changed."""
    chosen_checks(job.checks)
    with console.status("evaluating") as status:
        run_id, found = recheck_store(
            job, lambda f: status.update(f"{f.rows:,} answers, {len(f.verdicts):,} changed"), debug
        )
    _show(console, found)
    return 0, {
        "run_id": run_id,
        "rows": found.rows,
        "changed": len(found.verdicts),
        "now_failed": sum(v.status == ("answered", "failed") for v in found.verdicts),
        "now_answered": sum(v.status == ("failed", "answered") for v in found.verdicts),
        "verdicts": [_listed(verdict) for verdict in found.verdicts],
    }


def _listed(verdict: Verdict) -> dict[str, Any]:
    was, now = (
        {"status": status, "stance": stance, "missed_checks": list(missed)}
        for status, stance, missed in zip(
            verdict.status, verdict.stance, verdict.missed, strict=True
        )
    )
    return {
        "record_id": verdict.record_id,
        "generation_key": verdict.generation_key,
        "was": was,
        "now": now,
        "answer_changed": verdict.answer_changed,
    }


def _show(console: Console, found: Rechecked) -> None:
    kinds = Counter(_in_words(verdict) for verdict in found.verdicts)
    table = Table("verdict", "answers", box=None, pad_edge=False)
    table.columns[1].justify = "right"
    table.add_row("unchanged", f"{found.rows - len(found.verdicts):,}")
    for words, count in kinds.most_common():
        table.add_row(words, f"{count:,}")
    console.print(table)
    for verdict in found.verdicts[:SHOWN]:
        console.print(f"{harmless(verdict.record_id)}: {_in_words(verdict)}", markup=False)
    if len(found.verdicts) > SHOWN:
        console.print(f"… and {len(found.verdicts) - SHOWN:,} more, which --json lists")


def _in_words(verdict: Verdict) -> str:
    words = [f"{was} → {now}" for was, now in (verdict.status, verdict.stance) if was != now]
    before, after = map(set, verdict.missed)
    words += [f"now misses {name}" for name in sorted(after - before)]
    words += [f"no longer misses {name}" for name in sorted(before - after)]
    if verdict.answer_changed:
        words.append("another text")
    return ", ".join(words) or "another level of a check"
