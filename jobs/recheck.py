"""`overnight recheck`: extraction and checks again over stored completions, without an engine."""

from collections import Counter
from typing import Any

from rich.console import Console
from rich.table import Table

from pipeline.answering.checks import chosen_checks
from pipeline.answering.recheck import Rechecked, Reevaluation
from pipeline.cluster.in_process import executor_for
from pipeline.config.schema import Job
from pipeline.core.filesystem import Storage
from pipeline.core.text import harmless, plural
from pipeline.prompting.template import load_prompt
from pipeline.runs.recheck import recheck_store
from pipeline.store.presence import existing_store
from pipeline.store.schema import ANSWERS_FOLDER

MOST_SHOWN = 100
"""Changed verdicts on a terminal; `--json` lists all of them."""


def main(console: Console, job: Job, debug: bool) -> tuple[int, dict[str, Any]]:
    """Exit code 0, and every verdict that changed."""
    chosen_checks(job.checks)
    load_prompt(job.prompt.template, job.answer)  # a wrong job file touches no store
    answers = existing_store(Storage(job.storage).at(job.output.uri)).join(ANSWERS_FOLDER)
    executor = executor_for(sum(answers.files().values()), debug)
    with console.status("evaluating") as status:

        def show(so_far: Rechecked) -> None:
            rows, changed = plural(so_far.rows, "answer"), len(so_far.verdicts)
            status.update(f"{rows}, {changed:,} changed")

        run_id, changes = recheck_store(job, executor, show)
    _show(console, changes)
    verdicts = changes.verdicts
    return 0, {
        "run_id": run_id,
        "rows": changes.rows,
        "changed": len(verdicts),
        "now_failed": sum(v.status == ("answered", "failed") for v in verdicts),
        "now_answered": sum(v.status == ("failed", "answered") for v in verdicts),
        "other_versions": dict(changes.other_versions),
        "kept": dict(changes.kept),
        "verdicts": [_document(verdict) for verdict in verdicts],
    }


def _document(verdict: Reevaluation) -> dict[str, Any]:
    was, now = (
        {
            "status": status,
            "stance": stance,
            "answers_question": answers_question,
            "missed_checks": list(missed),
        }
        for status, stance, answers_question, missed in zip(
            verdict.status, verdict.stance, verdict.answers_question, verdict.missed, strict=True
        )
    )
    return {
        "record_id": verdict.record_id,
        "generation_key": verdict.generation_key,
        "was": was,
        "now": now,
        "answer_changed": verdict.answer_changed,
        "other_versions": list(verdict.other_versions),
    }


def _show(console: Console, changes: Rechecked) -> None:
    verdicts = changes.verdicts
    table = Table("verdict", "answers", box=None, pad_edge=False)
    table.columns[1].justify = "right"
    table.add_row("unchanged", f"{changes.rows - len(verdicts):,}")
    for description, count in Counter(map(_description, verdicts)).most_common():
        table.add_row(description, f"{count:,}")
    console.print(table)
    for name, count in changes.other_versions.items():
        console.print(f"{name}: {plural(count, 'answer')} judged by another version of this check")
    for name, count in changes.kept.items():
        console.print(
            f"{name}: {plural(count, 'verdict')} kept, as the check asks for what is not stored"
        )
    for verdict in verdicts[:MOST_SHOWN]:
        console.print(f"{harmless(verdict.record_id)}: {_description(verdict)}", markup=False)
    if len(verdicts) > MOST_SHOWN:
        console.print(f"… and {len(verdicts) - MOST_SHOWN:,} more, see --json")


def _description(verdict: Reevaluation) -> str:
    changes = [f"{was} → {now}" for was, now in (verdict.status, verdict.stance) if was != now]
    before, after = map(set, verdict.missed)
    changes += [f"now misses {name}" for name in sorted(after - before)]
    changes += [f"no longer misses {name}" for name in sorted(before - after)]
    if verdict.answer_changed:
        changes.append("other answer text")
    was, now = verdict.answers_question
    if was != now:
        changes.append(f"answers the question: {was or 'not judged'} → {now or 'not judged'}")
    return ", ".join(changes) or "a check's level or p_answered changed"
