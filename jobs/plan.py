"""`overnight plan`: what a run would do, why, and what it would cost."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from difflib import unified_diff
from math import ceil
from typing import Any

import orjson
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from jobs.forecast import forecast_document, forecast_lines
from jobs.hints import show_unnamed, show_unselected
from jobs.progress import PLANNING, JobProgress
from pipeline.answering.prepare import Prepared, prepare
from pipeline.cluster.in_process import executor_for
from pipeline.config.schema import Job
from pipeline.config.selection import Selection
from pipeline.core import carried
from pipeline.core.accounting import MOST_DETAILS
from pipeline.core.own_id import lines_about
from pipeline.core.records import Message
from pipeline.core.text import harmless, plural
from pipeline.engines.parallelism import describe_gpus
from pipeline.engines.reasoning_parsers import described
from pipeline.engines.token_budget import EXPECTED_TOKENS_PER_WORD
from pipeline.prompting.cache_estimate import estimate_cache
from pipeline.results.differing import count_reasons
from pipeline.results.reading_order import REASONS
from pipeline.runs.budgets import overruns
from pipeline.runs.context import ContextEstimate, estimate_context
from pipeline.runs.forecast import forecast_of
from pipeline.runs.plan import Cause, WorkPlan, make_plan, provenance_of
from pipeline.store.history import Provenance, stored_messages
from pipeline.store.runs import Measured, last_measured

LEAST_GAIN = 0.02
"""An alternative is shown if its share of cached prompt tokens is larger by this much."""

ALTERNATIVES = {
    "shared_first": "prompt.passages: shared_first",
    "words_first": "the template's own words before passages and question",
    "both": "both",
}
"""Fields of `CacheEstimate`, and what the job would have to change for them."""


def main(
    console: Console,
    job: Job,
    selection: Selection,
    examples: int,
    rate: float | None,
    debug: bool,
) -> tuple[int, dict[str, Any]]:
    """Exit code 0, and the plan; `rate` is in tokens per second per GPU."""
    prepared = prepare(job, selection)
    executor = executor_for(prepared.input_bytes, debug)
    with JobProgress(console, f"{job.name}: plan", PLANNING) as progress:
        plan = make_plan(prepared, executor, progress, examples)
    now, sample = provenance_of(job, prepared.source), plan.sample
    cache = estimate_cache(sample, job, prepared.source) if sample else None
    context = estimate_context(job, plan, cache)
    document = {
        **_records(plan, now),
        "ids": plan.ids,
        "reasoning": described(job) if job.engine.kind == "vllm" else None,
        "over_budget": list(overruns(job, plan.totals, selection.limit)),
        **_cost(plan, job, rate, last_measured(prepared.store, job)),
        **_judging(plan, prepared),
        **forecast_document(forecast_of(prepared, plan, rate), job),
        "gpus": job.engine.gpus * job.engine.replicas.max,
        "context": asdict(context) if context else None,
        "prefix_cache": asdict(cache) if cache else None,
        "look_here_first": dict(count_reasons(prepared.store)),
        "examples": list(_examples(plan, prepared, now)),
    }
    _show(console, document, list(_engine_lines(job, context)))
    show_unselected(console, prepared, document["read"])
    show_unnamed(console, document["reject_details"])
    return 0, document


def _engine_lines(job: Job, context: ContextEstimate | None) -> Iterator[str]:
    if job.engine.gpus:
        yield describe_gpus(job.engine)
    if context:
        yield str(context)


def _records(plan: WorkPlan, now: Provenance) -> dict[str, Any]:
    totals = plan.totals
    causes = sorted(plan.records.items(), key=lambda item: (-item[1], item[0].kind))
    return {
        "read": totals.read,
        "identical": totals.standings["identical"],
        "work": totals.standings["work"],
        "current": totals.states["current"],
        "current_failed": totals.standings["current_failed"],
        "to_fill_in": plan.to_fill_in,
        "to_judge": plan.to_judge,
        "carried": dict(totals.carried),
        "rejected": totals.states["rejected"],
        "rejects": dict(totals.reasons),
        "reject_details": dict(totals.details.most_common(MOST_DETAILS)),
        "causes": [
            {
                "cause": cause.kind,
                "changes": list(cause.changes),
                "said": _reason(cause, now),
                "before": cause.before._asdict() if cause.before else None,
                "now": now._asdict(),
                "records": records,
                "estimated_prompt_tokens": plan.prompt_tokens[cause],
            }
            for cause, records in causes
        ],
    }


def _cost(
    plan: WorkPlan, job: Job, rate: float | None, measured: Measured | None
) -> dict[str, Any]:
    """Tokens, GPU-hours and parts; GPU-hours are null if no rate is given or measured."""
    records, shared = plan.totals.standings["work"], plan.generations.shared()
    generations = records - shared.records
    prompt_tokens = plan.prompt_tokens.total() - shared.prompt_tokens
    expected = job.answer.expected_words * EXPECTED_TOKENS_PER_WORD
    completion_tokens = round(generations * (measured.completion_tokens if measured else expected))
    reasoning_tokens = round(generations * measured.reasoning_tokens) if measured else None
    used = rate or (measured.rate if measured else None)
    return {
        "shared_generations": shared.records,
        "estimated_prompt_tokens": prompt_tokens,
        "estimated_completion_tokens": completion_tokens,
        "estimated_reasoning_tokens": reasoning_tokens,
        "tokens_per_gpu_second": used,
        "measured_by": measured.run_id if measured and not rate else None,
        "gpu_hours": (prompt_tokens + completion_tokens) / used / 3600 if used else None,
        "parts": ceil(records / job.rows_per_file),
    }


def _judging(plan: WorkPlan, prepared: Prepared) -> dict[str, int]:
    """Verdicts at most, and the tokens of the judge's turns; stored conversations are read again
    before them.
    """
    judge = prepared.judge
    verdicts = plan.to_judge + plan.totals.standings["work"] if judge else 0
    each = judge.template.estimated_tokens if judge else 0
    return {"verdicts": verdicts, "estimated_judge_tokens": verdicts * each}


def _examples(plan: WorkPlan, prepared: Prepared, now: Provenance) -> Iterator[dict[str, Any]]:
    """Records whose prompt has changed, each with the difference line by line."""
    parts = {example.prompt.record.record_id: example.part for example in plan.examples}
    last_messages = stored_messages(prepared.store, parts)
    for prompt, cause, _ in plan.examples:
        record_id = prompt.record.record_id
        stored, planned = _lines(last_messages.get(record_id, ())), _lines(prompt.messages)
        if prepared.job.prompt.passages == "shared_first":
            stored, planned = differing_lines(stored, planned)
        diff = unified_diff(stored, planned, "stored", "planned", lineterm="", n=1)
        yield {"record_id": record_id, "said": _reason(cause, now), "diff": list(diff)}


def differing_lines(one: list[str], other: list[str]) -> tuple[list[str], list[str]]:
    """The lines that only one of two texts has, in any place: another order is no change."""
    first, second = Counter(one), Counter(other)
    return list((first - second).elements()), list((second - first).elements())


def _lines(messages: Sequence[Message]) -> list[str]:
    return [f"{m.role}: {line}" for m in messages for line in m.content.splitlines()]


def _reason(cause: Cause, now: Provenance) -> str:
    """Why records must be generated, with old and new values."""
    if cause.kind != "changed" or cause.before is None:
        return cause.kind.replace("_", " ")
    if cause.before.settings is None:  # an earlier release did not store them
        now = now._replace(settings=None)
    old, new = _values(cause.before), _values(now)
    return "; ".join(
        change.replace("_", " ")
        + (f": {old.get(change)} → {new.get(change)}" if {change} & {*old, *new} else "")
        for change in cause.changes
    )


def _values(provenance: Provenance) -> dict[str, Any]:
    """What a `Change` compares, by its name."""
    prompt = f"{provenance.prompt_name} {provenance.prompt_version}"
    return {"prompt": prompt, **provenance._asdict(), **orjson.loads(provenance.settings or "{}")}


def _show(console: Console, document: dict[str, Any], of_engine: Sequence[str]) -> None:
    table = Table("a run would", "records", "", box=None, pad_edge=False)
    table.columns[1].justify = "right"
    for cause in document["causes"]:
        tokens = plural(cause["estimated_prompt_tokens"], "prompt token")
        reason = f"{harmless(cause['said'])} (about {tokens})"
        table.add_row("generate", f"{cause['records']:,}", escape(reason))
    if not document["causes"]:
        table.add_row("generate", "0")
    failed, to_fill_in = document["current_failed"], document["to_fill_in"]
    details = [f"{failed:,} failed earlier"] * bool(failed)
    details += [f"{to_fill_in:,} with columns to fill in"] * bool(to_fill_in)
    details += [f"{document['to_judge']:,} to judge"] * bool(document["to_judge"])
    table.add_row("leave as current", f"{document['current']:,}", ", ".join(details))
    reasons = ", ".join(f"{n:,} {reason}" for reason, n in sorted(document["rejects"].items()))
    table.add_row("reject", f"{document['rejected']:,}", reasons)
    table.add_row("read", f"{document['read']:,}")
    console.print(table)
    if shared := document["shared_generations"]:
        saved = plural(shared, "generation")
        console.print(f"\n{saved} saved: equal prompts share one (engine.equal_prompts)")
    console.print(f"\n{_cost_line(document)}")
    if verdicts := document["verdicts"]:
        tokens = plural(document["estimated_judge_tokens"], "token")
        console.print(f"judge: at most {plural(verdicts, 'verdict')}, about {tokens} of its own")
    reasoning = [f"reasoning: {document['reasoning']}"] if document["reasoning"] else []
    about = [*lines_about(document["ids"]), *carried.lines_about(document["carried"])]
    forecast = forecast_lines(document["forecast"]) if document["causes"] or verdicts else []
    for line in (*forecast, *reasoning, *of_engine, *document["over_budget"], *about):
        console.print(harmless(line), markup=False)
    if document["prefix_cache"]:
        console.print(_prefix_cache_line(document["prefix_cache"]))
    if line := _look_here_line(document["look_here_first"]):
        console.print(line)
    for example in document["examples"]:
        console.print()
        for line in (f"{example['record_id']}: {example['said']}", *example["diff"]):
            console.print(harmless(line), markup=False)


def _cost_line(document: dict[str, Any]) -> str:
    prompt_tokens = plural(document["estimated_prompt_tokens"], "prompt token")
    completion_tokens = plural(document["estimated_completion_tokens"], "completion token")
    if reasoning := document["estimated_reasoning_tokens"]:
        completion_tokens += f" ({reasoning:,} of them reasoning)"
    parts = plural(document["parts"], "part")
    line = f"about {prompt_tokens} and {completion_tokens}, {parts}"
    if document["gpu_hours"] is None:
        return (
            f"{line}; no run of this engine and model has measured a rate yet; give one as --rate"
        )
    source = f"run {document['measured_by']}" if document["measured_by"] else "--rate"
    rate = f"{document['tokens_per_gpu_second']:,.0f} tokens per second per GPU"
    return f"{line}; {document['gpu_hours']:.2g} GPU-hours at {rate} ({source})"


def _prefix_cache_line(cache: dict[str, Any]) -> str:
    line = (
        f"about {cache['share']:.0%} of the prompt tokens come from the prefix cache "
        f"(estimated from {plural(cache['sampled'], 'sampled prompt')})"
    )
    better = [
        f"{cache[name]:.0%} with {change}"
        for name, change in ALTERNATIVES.items()
        if cache[name] is not None and cache[name] >= cache["share"] + LEAST_GAIN
    ]
    return f"{line}; it would be {', '.join(better)}" if better else line


def _look_here_line(counts: Mapping[str, int]) -> str:
    """Which stored answers a person should read; empty if there is no reason to read any."""
    found = [f"{counts[reason]:,} {reason}" for reason in REASONS if counts.get(reason)]
    return f"of the stored answers look first at {', '.join(found)}" if found else ""
