"""Runs one check on one answer."""

from pipeline.answering.checks import chosen_checks, run_checks
from pipeline.answering.checks.base import Subject
from pipeline.core.records import Completion

PROMPT_WORDS = "State only what the passages say and keep their numbers as they are"


def look(check: str, completion: str, answer: str | None = None, **fields):
    """The result of one check; unless given, the answer is the whole completion."""
    subject = Subject(
        Completion(completion, fields.get("finish_reason", "stop")),
        completion if answer is None else answer,
        fields.get("boilerplate", PROMPT_WORDS),
        fields.get("max_words", 10),
    )
    (result,), _ = run_checks(tuple(c for c in chosen_checks({}) if c.name == check), subject)
    return result
