"""Rows of the store as prompts and completions again, as far as the store holds them."""

from collections.abc import Mapping
from typing import Any, TypeAlias, cast

import orjson

from pipeline.answering.checks.base import UnknownPassages
from pipeline.answering.reasoning import split_text
from pipeline.core.records import Completion, Message, Passage, Place, Prompt, Record, Split

Row: TypeAlias = Mapping[str, Any]


def stored_prompt(row: Row, boilerplate: str, extra: Row) -> Prompt:
    """The prompt of a row, whose record's passages are not known."""
    record = Record(
        row["record_id"],
        Place(row["source_uri"], row["source_row"]),
        row["paper_id"],
        row["question_id"],
        row["question"],
        passages=cast(tuple[Passage, ...], UnknownPassages()),
        extra=extra,
    )
    messages = tuple(Message(m["role"], m["content"]) for m in row["messages"])
    return Prompt(record, messages, boilerplate, row["prompt_key"], row["generation_key"])


def stored_completion(row: Row, attempt: Row) -> Completion:
    """The completion of one of a row's attempts, split as it was."""
    text, reasoning = attempt["completion"], attempt["reasoning"]
    return Completion(
        text,
        attempt["finish_reason"],
        attempt["prompt_tokens"],
        attempt["cached_tokens"],
        attempt["completion_tokens"],
        attempt["seconds"],
        reasoning_tokens=attempt["reasoning_tokens"] or 0,
        split=stored_split(text, reasoning) if reasoning else None,
        generated_for=attempt["generated_for"],
        **(_of_answer(row) if text == row["completion"] else {}),
    )


def _of_answer(row: Row) -> dict[str, Any]:
    """What the store keeps of the attempt that became the answer, and of no other."""
    probabilities = row["probabilities"]
    return {
        "confidence": row["confidence"],
        "probabilities": orjson.loads(probabilities) if probabilities else None,
    }


def stored_split(text: str, reasoning: str) -> Split:
    """The split that a model's parser made, from the thought that it found. The marks alone may not
    tell it: of a thought that the prompt opened and nothing closed there are none.
    """
    by_marks = split_text(text)
    behind = text.partition(reasoning)[2]
    if by_marks.reasoning == reasoning or reasoning not in text:
        return by_marks
    if not behind.strip():
        return Split(reasoning, "", is_closed=False)
    return Split(reasoning, split_text(behind).content)
