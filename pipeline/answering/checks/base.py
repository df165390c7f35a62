"""What a check gets, and what it returns."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from pipeline.core.records import Completion, Repair
from pipeline.core.text import quote as quote
from pipeline.core.words import count_words, has_spaced_words
from pipeline.formats.base import AnswerFormat
from pipeline.formats.frame import FRAME


@dataclass(frozen=True)
class Subject:
    """A completion, the answer extracted from it, and what checks compare them with."""

    completion: Completion
    answer: str
    boilerplate: str
    max_words: int
    format: AnswerFormat = FRAME
    is_prose: bool = True  # whether `answer` is the text of a person, not a choice or a document

    @cached_property
    def words(self) -> list[str]:
        """The answer's runs without white space, in lower case, which several checks use."""
        return self.answer.lower().split()

    @cached_property
    def word_count(self) -> int:
        spaced = has_spaced_words(self.answer)
        return len(self.words) if spaced else count_words(self.answer)


class Finding(NamedTuple):
    """Whether an answer passed, with evidence either way."""

    passed: bool
    evidence: str
    repair: Repair | None = None  # for the next attempt; None if no further one would help


def unclosed_thought(completion: Completion) -> Finding | None:
    """The finding on a completion that ends before its thought does; None for any other."""
    if completion.split is None or completion.split.is_closed:
        return None
    why = "the thought is not closed, so there is no answer"
    if completion.finish_reason == "length":
        why = f"{why}: cut off after {completion.completion_tokens:,} tokens"
        if completion.context_full:
            return Finding(False, f"{why}, where the model's context is full")
        return Finding(False, why, "more_tokens")
    return Finding(False, f"{why}: {quote(completion.reasoning[-80:])}", "sample_anew")
