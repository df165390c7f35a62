"""`overnight plan`: what a run would do, why, and what it would cost."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from difflib import unified_diff
from math import ceil
from typing import Any

from rich.console import Console
from rich.table import Table

from jobs.progress import PLANNING, JobProgress
from pipeline.answering.prepare import Prepared, prepare
from pipeline.cluster.executor import executor_for
from pipeline.config.schema import Job
from pipeline.config.selection import Selection
from pipeline.core.records import Message
from pipeline.core.text import harmless
from pipeline.engines.token_budget import EXPECTED_TOKENS_PER_WORD
from pipeline.prompting.cache_estimate import estimate_cache
from pipeline.run.plan import Cause, WorkPlan, make_plan, now_of
from pipeline.store.history import Provenance, stored_messages
from pipeline.store.runs import Measured, last_measured

WORTH_TELLING = 0.02
"""By which a share of the prefix cache would have to be larger."""


def main(
    console: Console,
    job: Job,
    selection: Selection,
    examples: int,
    rate: float | None,
    debug: bool,
) -> tuple[int, dict[str, Any]]:
    """Exit code 0 and the plan; `rate` is in tokens a second per GPU."""
    prepared = prepare(job, selection)
    executor = executor_for(prepared.input_bytes, debug)
    with JobProgress(console, f"{job.name}: plan", PLANNING) as progress:
        work = make_plan(prepared, executor, progress, examples)
    document = {
        **_records(work, prepared),
        **_cost(work, job, rate, last_measured(prepared.store, job)),
        "prefix_cache": _prefix_cache(work, prepared),
        "examples": list(_examples(work, prepared)),
    }
    _show(console, document)
    return 0, document


def _records(work: WorkPlan, prepared: Prepared) -> dict[str, Any]:
    totals = work.totals
    now = now_of(prepared.job, prepared.source)
    causes = sorted(work.records.items(), key=lambda item: (-item[1], item[0].kind))
    return {
        "read": totals.sums["read"],
        "work": totals.standings["work"],
        "current": totals.states["current"],
        "current_failed": totals.standings["current_failed"],
        "rejected": totals.states["rejected"],
        "rejects": dict(totals.reasons),
        "causes": [
            {
                "cause": cause.kind,
                "changes": list(cause.changes),
                "said": _said(cause, now),
                "before": cause.before._asdict() if cause.before else None,
                "now": now._asdict(),
                "records": records,
                "estimated_prompt_tokens": work.prompt_tokens[cause],
            }
            for cause, records in causes
        ],
    }


def _cost(
    work: WorkPlan, job: Job, rate: float | None, measured: Measured | None
) -> dict[str, Any]:
    """Tokens, GPU-hours and parts; null where nothing was measured or given."""
    records = work.totals.standings["work"]
    prompt_tokens = sum(work.prompt_tokens.values())
    expected = job.answer.max_words * EXPECTED_TOKENS_PER_WORD
    each = measured.completion_tokens if measured else expected
    completion_tokens = round(records * each)
    used = rate or (measured.rate if measured else None)
    hours = (prompt_tokens + completion_tokens) / used / 3600 if used else None
    return {
        "estimated_prompt_tokens": prompt_tokens,
        "estimated_completion_tokens": completion_tokens,
        "tokens_per_gpu_second": used,
        "measured_by": measured.run_id if measured and not rate else None,
        "gpu_hours": hours,
        "parts": ceil(records / job.rows_per_file),
    }


def _prefix_cache(work: WorkPlan, prepared: Prepared) -> dict[str, Any] | None:
    """The estimate; null where nothing is to be generated, or not by vLLM."""
    if not work.sample:
        return None
    return asdict(estimate_cache(work.sample, prepared.job, prepared.source))


def _examples(work: WorkPlan, prepared: Prepared) -> Iterator[dict[str, Any]]:
    """Records whose prompt has changed, each with the difference line by line."""
    parts = {example.record_id: example.part for example in work.examples}
    asked = stored_messages(prepared.store, parts)
    now = now_of(prepared.job, prepared.source)
    for example in work.examples:
        stored, planned = _lines(asked.get(example.record_id, [])), _lines(example.messages)
        if prepared.job.prompt.passages == "shared_first":
            stored, planned = lines_apart(stored, planned)
        lines = unified_diff(stored, planned, "stored", "planned", lineterm="", n=1)
        yield {
            "record_id": example.record_id,
            "said": _said(example.cause, now),
            "diff": list(lines),
        }


def lines_apart(one: list[str], other: list[str]) -> tuple[list[str], list[str]]:
    """Two texts less the lines that both have, wherever they stand: a free order is no change."""
    common = Counter(one) & Counter(other)
    return _less(one, common), _less(other, common)


def _less(lines: list[str], common: Counter[str]) -> list[str]:
    left, rest = Counter(common), []
    for line in lines:
        left[line] -= 1
        if left[line] < 0:
            rest.append(line)
    return rest


def _lines(messages: Sequence[Message]) -> list[str]:
    return [f"{m.role}: {line}" for m in messages for line in m.content.splitlines()]


def _said(cause: Cause, now: Provenance) -> str:
    """A cause in words, with what was and what is."""
    if cause.kind == "new" or cause.before is None:
        return "new"
    if cause.kind == "failed_before":
        return "failed before"
    before, words = cause.before, []
    for change in cause.changes:
        if change == "prompt":
            was = f"{before.prompt_name} {before.prompt_version}"
            words.append(f"prompt: {was} → {now.prompt_name} {now.prompt_version}")
        elif change in Provenance._fields:
            words.append(f"{change}: {getattr(before, change)} → {getattr(now, change)}")
        else:
            words.append(change)
    return "; ".join(words).replace("_", " ")


def _show(console: Console, document: dict[str, Any]) -> None:
    table = Table("a run would", "records", "", box=None, pad_edge=False)
    table.columns[1].justify = "right"
    for cause in document["causes"]:
        tokens = f"about {cause['estimated_prompt_tokens']:,} prompt tokens"
        table.add_row("generate", f"{cause['records']:,}", f"{harmless(cause['said'])} ({tokens})")
    if not document["causes"]:
        table.add_row("generate", "0", "")
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
    console.print(f"\n{_cost_in_words(document)}")
    if document["prefix_cache"]:
        console.print(_prefix_cache_in_words(document["prefix_cache"]))
    for example in document["examples"]:
        console.print(
            f"\n{harmless(example['record_id'])}: {harmless(example['said'])}", markup=False
        )
        for line in example["diff"]:
            console.print(harmless(line), markup=False)


def _cost_in_words(document: dict[str, Any]) -> str:
    said = (
        f"about {document['estimated_prompt_tokens']:,} prompt tokens and "
        f"{document['estimated_completion_tokens']:,} completion tokens, "
        f"{document['parts']:,} parts"
    )
    if document["gpu_hours"] is None:
        return f"{said}; no run of this engine has measured a rate yet, --rate gives one"
    source = f"run {document['measured_by']}" if document["measured_by"] else "--rate"
    return (
        f"{said}; {document['gpu_hours']:.2g} GPU-hours at "
        f"{document['tokens_per_gpu_second']:,.0f} tokens a second a GPU ({source})"
    )


def _prefix_cache_in_words(found: dict[str, Any]) -> str:
    said = (
        f"about {found['share']:.0%} of the prompt tokens come from the prefix cache "
        f"(estimated from {found['sampled']:,} sampled prompts)"
    )
    ways = {
        "shared_first": "prompt.passages: shared_first",
        "words_first": "the template's own words before passages and question",
        "both": "both",
    }
    better = [
        f"{found[name]:.0%} with {way}"
        for name, way in ways.items()
        if found[name] is not None and found[name] >= found["share"] + WORTH_TELLING
    ]
    return f"{said}; it would be {', '.join(better)}" if better else said
