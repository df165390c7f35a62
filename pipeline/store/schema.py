"""Columns of the store. Names and types are a contract and never change."""

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter, itemgetter
from typing import Any

import orjson
import pyarrow as pa

from pipeline.core.arrow import (
    MESSAGES,
    STRINGS,
    build,
    fields,
    flow_schema,
    lists_of_structs,
    record_columns,
)
from pipeline.core.carried import NOTHING, Carry, carried_json
from pipeline.core.records import Answered, Attempt, BatchLine, Claim, Completion
from pipeline.core.words import count_words

ANSWERS_FOLDER, REJECTS_FOLDER, RUNS_FOLDER = "answers", "rejects", "runs"

TIMESTAMP = pa.timestamp("us", tz="UTC")

_TOKENS = fields(
    pa.int32(), "prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens"
)
_SOURCE = [("source_uri", pa.string()), ("source_row", pa.int64())]
_WRITTEN = [("run_id", pa.string()), ("written_at", TIMESTAMP)]

CHECKS = pa.list_(
    pa.struct(
        [("name", pa.string()), ("passed", pa.bool_()), *fields(pa.string(), "level", "evidence")]
    )
)
CLAIMS = pa.list_(
    pa.struct(
        [
            *fields(pa.string(), "check", "kind", "text"),
            *fields(pa.int32(), "start", "end", "message", "source_start", "source_end"),
        ]
    )
)
JUDGEMENTS = pa.list_(
    pa.struct(
        [
            *fields(pa.string(), "rater", "value"),
            ("probability", pa.float32()),
            *fields(pa.string(), "evidence", "key"),
        ]
    )
)
ATTEMPTS = pa.list_(
    pa.struct(
        [
            *fields(pa.string(), "completion", "reasoning", "finish_reason"),
            ("failed_checks", STRINGS),
            *_TOKENS,
            ("seconds", pa.float64()),
            *fields(pa.string(), "generated_for", "asked"),
        ]
    )
)

ANSWERS = pa.schema(
    [
        *fields(pa.string(), "generation_key", "record_id", "paper_id", "question_id", "question"),
        *fields(pa.string(), "prompt_name", "prompt_version", "prompt_key"),
        ("messages", MESSAGES),
        *fields(pa.string(), "model", "model_revision", "adapter", "engine", "engine_version"),
        *fields(pa.string(), "sampling", "settings"),
        *fields(pa.string(), "status", "stance", "answer", "completion", "reasoning"),
        *fields(pa.string(), "fields", "probabilities"),
        ("finish_reason", pa.string()),
        ("failed_checks", STRINGS),
        ("checks", CHECKS),
        ("attempts", ATTEMPTS),
        ("word_count", pa.int32()),
        *_TOKENS,
        ("confidence", pa.float32()),
        ("input_repairs", STRINGS),
        *_SOURCE,
        *_WRITTEN,
        ("extra", pa.string()),
        ("answers_question", pa.string()),
        ("p_answered", pa.float32()),
        ("claims", CLAIMS),
        ("judgements", JUDGEMENTS),
        ("generated_for", pa.string()),
    ]
)

REJECTS = pa.schema(
    [
        *fields(pa.string(), "record_id", "reason", "detail"),
        *_SOURCE,
        ("payload", pa.binary()),
        *_WRITTEN,
    ]
)

TYPES: dict[str, pa.DataType] = {field.name: field.type for field in (*REJECTS, *ANSWERS)}
"""The type of every column, by name."""

OUTCOMES = flow_schema(ANSWERS)
"""Columns that reach the sink: those of answers and rejects, and the flow's own bookkeeping."""


def answers_table(
    answers: Sequence[Answered], constants: dict[str, str | None], carry: Carry = NOTHING
) -> pa.Table:
    """Answers as rows of `OUTCOMES`; `constants` are columns with one value for the whole run.

    The token columns count all attempts that were generated for the record, and not for an equal
    one. `PartWriter` fills `run_id` and `written_at` in.
    """
    prompts = [a.prompt for a in answers]
    statuses = [a.status for a in answers]
    generations = [a.generations for a in answers]
    columns: dict[str, Any] = {
        "standing": statuses,
        "generation_key": [p.generation_key for p in prompts],
        "prompt_key": [p.prompt_key for p in prompts],
        "messages": lists_of_structs([p.messages for p in prompts], MESSAGES),
        "status": statuses,
        "stance": [a.stance for a in answers],
        "answers_question": [a.answers_question for a in answers],
        "p_answered": [a.p_answered for a in answers],
        "answer": [a.answer for a in answers],
        "completion": [a.completion.text for a in answers],
        "reasoning": [a.completion.reasoning or None for a in answers],
        "fields": [a.document for a in answers],
        "probabilities": [_as_json(a.completion.probabilities) for a in answers],
        "confidence": [a.completion.confidence for a in answers],
        "finish_reason": [a.completion.finish_reason for a in answers],
        "generated_for": [a.completion.generated_for for a in answers],
        "failed_checks": [a.failed_checks for a in answers],
        "checks": lists_of_structs([a.checks for a in answers], CHECKS),
        "claims": lists_of_structs([a.claims for a in answers], CLAIMS, _claim_cell),
        "attempts": lists_of_structs([a.attempts for a in answers], ATTEMPTS, _attempt_cell),
        "word_count": [count_words(a.answer) for a in answers],
        **{name: [_sum(name, made) for made in generations] for name, _ in _TOKENS},
        **{name: pa.repeat(value, len(answers)) for name, value in constants.items() if value},
        "extra": [carried_json(p.record.extra, carry) for p in prompts],
        **record_columns([p.record for p in prompts]),
    }
    if any(a.judgements for a in answers):
        columns["judgements"] = lists_of_structs([a.judgements for a in answers], JUDGEMENTS)
    lines = [p.record.batch for p in prompts]
    if any(lines) and (of_job := constants.get("sampling")):
        columns["sampling"] = [sampling_under(of_job, line) for line in lines]
    return build(OUTCOMES, columns, len(answers))


def sampling_under(of_job: str, line: BatchLine | None) -> str:
    """The column `sampling`: the job's, under what the record's own line of a batch file sets."""
    if line is None or not line.sampling:
        return of_job
    both = {**orjson.loads(of_job), **line.sampling}
    return orjson.dumps(both, option=orjson.OPT_SORT_KEYS).decode()


def _as_json(probabilities: Mapping[str, float] | None) -> str | None:
    return orjson.dumps(probabilities).decode() if probabilities else None


def _sum(name: str, completions: Sequence[Completion]) -> int:
    return sum(getattr(completion, name) for completion in completions)


def _claim_cell(field: str) -> Callable[[tuple[str, Claim]], Any]:
    if field == "check":
        return itemgetter(0)
    return lambda named: getattr(named[1], field)


def _attempt_cell(field: str) -> Callable[[Attempt], Any]:
    match field:
        case "failed_checks" | "asked":
            return attrgetter(field)
        case "completion":
            return attrgetter("completion.text")
        case "reasoning":
            return lambda attempt: attempt.completion.reasoning or None
        case _:
            return attrgetter(f"completion.{field}")
