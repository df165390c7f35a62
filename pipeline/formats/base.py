"""What an answer format is: one agreement between prompt, decoder, extraction and check."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

from pipeline.core.records import Completion, Level


class Extracted(NamedTuple):
    """What the content of a completion holds; nothing that was said is lost.

    `prose` is what word limits and the checks of prose look at; None if the answer is none.
    `document` is the answer as JSON, where it is one.
    """

    answer: str
    prose: str | None
    document: str | None = None


class PromptWords(NamedTuple):
    """What a template may say of a format, each under its own name.

    `max_words` is 0 where no word limit makes sense, `answer_begin` and `answer_end` are empty
    where no marker stands around an answer.
    """

    max_words: int
    answer_format: str
    answer_begin: str = ""
    answer_end: str = ""


class Fault(NamedTuple):
    """Why a completion does not keep the format, and the words that ask for one that does."""

    why: str
    ask: str


@dataclass(frozen=True, slots=True)
class Regex:
    """A decoder's constraint: the whole answer matches; valid in Rust's and Python's syntax."""

    pattern: str


@dataclass(frozen=True, slots=True)
class Schema:
    """A decoder's constraint: JSON that follows a schema."""

    schema: Mapping[str, Any]


Constraint: TypeAlias = Regex | Schema


class AnswerFormat(Protocol):
    """One format with the job's own settings of it."""

    @property
    def level(self) -> Level:
        """Of the check `format`, unless the job sets another."""

    @property
    def identity(self) -> Any:
        """JSON that tells it from other formats; None for the one that every job had once."""

    @property
    def prompt_words(self) -> PromptWords: ...

    @property
    def constraint(self) -> Constraint: ...

    def extract(self, content: str) -> Extracted:
        """The answer in what a model said behind its thought."""

    def fault(self, content: str) -> Fault | None:
        """Why the content does not keep the format; None if it does."""

    def closed(self, completion: Completion) -> Completion:
        """An enforced completion with what the model need not write itself."""


@runtime_checkable
class WritableFormat(AnswerFormat, Protocol):
    """A format in which any answer in words can be written, as the extractive engine does."""

    def written(self, answer: str) -> str:
        """An answer as a model would write it that keeps the format."""
