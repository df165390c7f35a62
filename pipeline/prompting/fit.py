"""Prompts that fit their model's context: records rendered, with passages dropped if asked for."""

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TypeAlias

from pipeline.config.schema import Job
from pipeline.core.records import Fault, Message, Record
from pipeline.engines.batch_lines import line_check
from pipeline.engines.token_budget import TokenBudget
from pipeline.prompting.template import PromptSource, render

Rendered: TypeAlias = tuple[tuple[Message, ...], str]
Fit: TypeAlias = Callable[[Record, PromptSource], tuple[Record, Rendered]]
"""Renders a record so that the prompt fits the model's context; raises `Fault` if it cannot."""


def fitting(job: Job) -> Fit:
    """How the job's prompts are made to fit; passages that it may reorder get a canonical order."""
    fit = _fitting(job)
    if job.prompt.passages != "as_given":
        fit = partial(_in_canonical_order, fit=fit)
    return partial(_obedient, fit=fit, check=line_check(job))


def _obedient(
    record: Record, source: PromptSource, fit: Fit, check: Callable[[Record], None]
) -> tuple[Record, Rendered]:
    """Refuses a record whose line of a batch file asks for what the job cannot do."""
    check(record)
    return fit(record, source)


def _fitting(job: Job) -> Fit:
    if job.engine.kind != "vllm":  # nothing else counts tokens here
        return lambda record, source: (record, render(source, record))
    budget = TokenBudget.of(job)
    if job.input.overflow == "drop_passages":
        return partial(_with_passages_dropped, budget=budget)
    return partial(_whole, budget=budget)


def _in_canonical_order(record: Record, source: PromptSource, fit: Fit) -> tuple[Record, Rendered]:
    """The record with its passages sorted by text, which stands for every order.

    The keys are made from it: a new question to an old paper may change how the others are
    arranged, and must not make their answers stale. Passages are dropped from the end of the given
    order, before they are sorted.
    """
    fitted, _ = fit(record, source)
    ordered = sorted(fitted.passages, key=lambda p: (p.text, p.source or ""))
    fitted = replace(fitted, passages=tuple(ordered))
    return fitted, render(source, fitted)


def _whole(record: Record, source: PromptSource, budget: TokenBudget) -> tuple[Record, Rendered]:
    rendered = render(source, record)
    budget.check(rendered[0], record.batch.sampling.get("max_tokens") if record.batch else None)
    return record, rendered


def _with_passages_dropped(
    record: Record, source: PromptSource, budget: TokenBudget
) -> tuple[Record, Rendered]:
    """The record with as many of its first passages as fit, at least one."""
    try:
        return _whole(record, source, budget)
    except Fault as fault:
        if fault.reason != "too_long" or source.is_verbatim:
            raise

    def is_too_long(passages: int) -> bool:
        try:
            _whole(replace(record, passages=record.passages[:passages]), source, budget)
        except Fault:
            return True
        return False

    counts = range(1, len(record.passages))
    remaining = max(bisect_left(counts, True, key=is_too_long), 1)
    dropped = len(record.passages) - remaining
    shorter = replace(
        record,
        passages=record.passages[:remaining],
        repairs=(*record.repairs, f"dropped_passages:{dropped}"),
    )
    return _whole(shorter, source, budget)
