"""`overnight preview`: answers a few records in this process, and shows all there is to see."""

import os
from collections.abc import Sequence
from difflib import unified_diff
from typing import Any

from rich.console import Console

from jobs.hints import show_unselected
from jobs.preview_text import show_record, show_reject, show_summary
from pipeline.answering.prepare import prepare
from pipeline.config.schema import Job
from pipeline.config.selection import Selection
from pipeline.core.processes import output_to
from pipeline.core.records import Attempt, Completion, Reject
from pipeline.core.text import harmless
from pipeline.engines import model_of
from pipeline.engines.engine import Request
from pipeline.prompting.template import load_prompt
from pipeline.runs.preview import PreviewedAnswer, PreviewedRecord, preview

Document = dict[str, Any]

TOKENS = ("prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens")
CHECKED = ("name", "passed", "level", "evidence")


def main(
    console: Console, job: Job, selection: Selection, against: str | None, debug: bool
) -> tuple[int, Document]:
    """Exit code 0, and everything that was shown; `against` is the path of a second template."""
    prepared = prepare(job, selection)
    others = [load_prompt(against, job.answer)] if against else []
    records: dict[int, Document] = {}
    rejects: list[Document] = []
    versions: set[str] = set()

    def show(previewed: PreviewedRecord | Reject) -> None:
        if isinstance(previewed, Reject):
            rejects.append(_reject(previewed))
            show_reject(console, rejects)
            return
        records[previewed.number] = record = _record(previewed)
        versions.update(s.engine_version for s in previewed.sides if isinstance(s, PreviewedAnswer))
        show_record(console, record)

    if job.engine.kind == "vllm":
        console.print(harmless(f"loading {job.engine.model}"), markup=False, emoji=False)
    with open(os.devnull, "wb") as nowhere, output_to(2 if debug else nowhere.fileno()):
        preview(prepared, others, show)
    model, revision = model_of(job)
    document = {
        "engine": job.engine.kind,
        "engine_version": next(iter(versions), None),
        "model": model,
        "model_revision": revision,
        "records": [records[number] for number in sorted(records)],
        "rejects": rejects,
    }
    show_summary(console, document)
    show_unselected(console, prepared, len(records) + len(rejects))
    return 0, document


def _record(previewed: PreviewedRecord) -> Document:
    record = previewed.record
    side, *others = previewed.sides
    document = {
        "record_id": record.record_id,
        "paper_id": record.paper_id,
        "question_id": record.question_id,
        "question": record.question,
        "source_uri": record.place.uri,
        "source_row": record.place.row,
        "input_repairs": list(record.repairs),
        **_side(side),
    }
    for other in others:
        document["against"] = _side(other)
        document["prompt_changes"] = _changes(side, other)
    return document


def _side(side: PreviewedAnswer | Reject) -> Document:
    """An answer under the names of the store's columns, with the prompt as the model reads it."""
    if isinstance(side, Reject):
        return _reject(side)
    answered, prompt = side.answered, side.answered.prompt
    return {
        "prompt_name": side.source.name,
        "prompt_version": side.source.version,
        "prompt_key": prompt.prompt_key,
        "generation_key": prompt.generation_key,
        "messages": [message._asdict() for message in prompt.messages],
        "prompt": side.text,
        "status": answered.status,
        "stance": answered.stance,
        "answers_question": answered.answers_question,
        "p_answered": answered.p_answered,
        "reasoning": answered.completion.reasoning,
        "completion": answered.completion.text,
        "content": answered.completion.content,
        "answer": answered.answer,
        "finish_reason": answered.completion.finish_reason,
        "confidence": answered.completion.confidence,
        "failed_checks": list(answered.failed_checks),
        "checks": [{name: getattr(c, name) for name in CHECKED} for c in answered.checks],
        "claims": [{"check": name, **claim._asdict()} for name, claim in answered.claims],
        "judgements": [judgement._asdict() for judgement in answered.judgements],
        "attempts": _attempts(side),
        **{n: sum(getattr(a.completion, n) for a in answered.attempts) for n in TOKENS},
        "seconds": side.seconds,
    }


def _attempts(side: PreviewedAnswer) -> list[Document]:
    before: list[Request | None] = [None, *side.requests]
    chosen = side.answered.completion
    return [
        _attempt(attempt, chosen, _repairs(request, earlier))
        for attempt, request, earlier in zip(
            side.answered.attempts, side.requests, before, strict=False
        )
    ]


def _attempt(attempt: Attempt, chosen: Completion, repairs: list[str]) -> Document:
    completion = attempt.completion
    return {
        "is_answer": completion is chosen,
        "repairs": repairs,
        "completion": completion.text,
        "content": completion.content,
        "reasoning": completion.reasoning,
        "finish_reason": completion.finish_reason,
        "failed_checks": list(attempt.failed_checks),
        **{name: getattr(completion, name) for name in TOKENS},
        "seconds": completion.seconds,
    }


def _repairs(request: Request, before: Request | None) -> list[str]:
    """How an attempt differs from the one before it."""
    if before is None:
        return []
    repairs = []
    if request.messages != before.messages:
        repairs.append(f"message: {request.messages[-1].content}")
    if request.resampled > before.resampled:
        repairs.append("sampled anew")
    if request.lengthened > before.lengthened:
        repairs.append("larger token limit")
    return repairs


def _changes(side: PreviewedAnswer | Reject, other: PreviewedAnswer | Reject) -> list[str]:
    """What differs between two prompts, line by line; nothing if one of them was not made."""
    if isinstance(side, Reject) or isinstance(other, Reject):
        return []
    lines = unified_diff(_lines(side), _lines(other), lineterm="", n=0)
    return list(lines)[2:]


def _lines(side: PreviewedAnswer) -> Sequence[str]:
    if side.text is not None:
        return side.text.split("\n")
    messages = side.answered.prompt.messages
    return [f"{m.role}: {line}" for m in messages for line in m.content.split("\n")]


def _reject(reject: Reject) -> Document:
    return {
        "record_id": reject.record_id,
        "source_uri": reject.place.uri,
        "source_row": reject.place.row,
        "reason": reject.reason,
        "detail": reject.detail,
    }
