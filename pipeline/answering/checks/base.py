"""What a check sees, and what it says."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from pipeline.core.records import Completion, Repair

EVIDENCE_CHARACTERS = 200


@dataclass(frozen=True)
class Subject:
    """A completion, the answer extracted from it, and what both are held against."""

    completion: Completion
    answer: str
    boilerplate: str
    max_words: int

    @cached_property
    def words(self) -> list[str]:
        """The answer's words in small letters; several checks look at them."""
        return self.answer.lower().split()


class Finding(NamedTuple):
    """Whether an answer passed, and what was seen; evidence is there either way.

    `repair` is what the next attempt should do about an answer that did not pass; None where no
    further attempt would help.
    """

    passed: bool
    evidence: str
    repair: Repair | None = None


def quote(text: str) -> str:
    """A piece of the answer as evidence, on one line and cut to a readable length."""
    line = " ".join(text.split())
    return line if len(line) <= EVIDENCE_CHARACTERS else line[: EVIDENCE_CHARACTERS - 1] + "…"
