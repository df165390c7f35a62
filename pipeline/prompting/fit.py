"""Prompts that their model can hold: records rendered, with fewer passages where that is wanted."""

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import TypeAlias

from pipeline.config.schema import Job
from pipeline.core.records import Fault, Message, Record
from pipeline.engines.token_budget import Room
from pipeline.prompting.template import PromptSource, render

Rendered: TypeAlias = tuple[tuple[Message, ...], str]
Fit: TypeAlias = Callable[[Record, PromptSource], tuple[Record, Rendered]]
"""Renders a record so that its model can hold the prompt; raises `Fault` where it cannot."""


def fitting(job: Job) -> Fit:
    """How a job has prompts fit the context of its model: as they are, or with passages dropped.

    Where the job lets passages be arranged, they come out in their canonical order.
    """
    fit = _fitting(job)
    if job.prompt.passages == "as_given":
        return fit
    return partial(_in_canonical_order, fit=fit)


def _fitting(job: Job) -> Fit:
    room = room_of(job.model_dump_json())
    if room is None:
        return lambda record, source: (record, render(source, record))
    if job.input.overflow == "drop_passages":
        return partial(_with_passages_dropped, room=room)
    return partial(_as_it_is, room=room)


@cache
def room_of(job: str) -> Room | None:
    """What the model of a job, given as JSON, leaves a prompt; None where nothing limits it here.

    Once a process: counting may load a tokenizer.
    """
    asked = Job.model_validate_json(job)
    return Room(asked) if asked.engine.kind == "vllm" else None


def _in_canonical_order(record: Record, source: PromptSource, fit: Fit) -> tuple[Record, Rendered]:
    """The record with its passages in the order of their texts, which stands for every order.

    The keys are made from it: a new question to an old paper may change how the others are
    arranged, and must not make their answers stale. What is dropped so that a prompt fits is
    the end of the order that it came with.
    """
    fitted, _ = fit(record, source)
    ordered = sorted(fitted.passages, key=lambda p: (p.text, p.source or ""))
    fitted = replace(fitted, passages=tuple(ordered))
    return fitted, render(source, fitted)


def _as_it_is(record: Record, source: PromptSource, room: Room) -> tuple[Record, Rendered]:
    rendered = render(source, record)
    room.check(rendered[0])
    return record, rendered


def _with_passages_dropped(
    record: Record, source: PromptSource, room: Room
) -> tuple[Record, Rendered]:
    """The record with as many of its passages as fit, the last ones dropped; one at the least."""
    try:
        return _as_it_is(record, source, room)
    except Fault as fault:
        if fault.reason != "too_long" or source.is_verbatim:
            raise

    def is_too_long(passages: int) -> bool:
        try:
            _as_it_is(replace(record, passages=record.passages[:passages]), source, room)
        except Fault:
            return True
        return False

    counts = range(1, len(record.passages))
    held = max(bisect_left(counts, True, key=is_too_long), 1)
    dropped = len(record.passages) - held
    shorter = replace(
        record,
        passages=record.passages[:held],
        repairs=(*record.repairs, f"dropped_passages:{dropped}"),
    )
    return _as_it_is(shorter, source, room)
