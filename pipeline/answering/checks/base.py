"""What a check gets, and what it returns."""

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple, Self, cast

import orjson

from pipeline.answering.ground import Ground
from pipeline.core.extra import dump_extra
from pipeline.core.records import Claim, Completion, Message, Passage, Prompt, Repair
from pipeline.core.text import quote as quote
from pipeline.core.words import count_words, has_spaced_words
from pipeline.formats.base import AnswerFormat
from pipeline.formats.frame import FRAME


@dataclass(frozen=True)
class Subject:
    """A completion, the answer extracted from it, and the record and prompt that it answers.

    A recheck does not know all of a record: a look at what the store does not hold raises
    `NotStored`.
    """

    completion: Completion
    answer: str
    boilerplate: str
    max_words: int
    format: AnswerFormat = FRAME
    is_prose: bool = True  # whether `answer` is the text of a person, not a choice or a document
    record_id: str = ""
    paper_id: str | None = None
    question_id: str | None = None
    question: str | None = None
    passages: Sequence[Passage] = ()
    extra: "dict[str, Any] | StoredColumns" = field(default_factory=dict)  # JSON's types
    messages: tuple[Message, ...] = ()  # the prompt

    @classmethod
    def of(
        cls,
        completion: Completion,
        answer: str,
        prompt: Prompt,
        max_words: int,
        format_: AnswerFormat,
        is_prose: bool,
    ) -> Self:
        record = prompt.record
        return cls(
            completion,
            answer,
            prompt.boilerplate,
            max_words,
            format_,
            is_prose,
            record.record_id,
            record.paper_id,
            record.question_id,
            record.question,
            record.passages,
            cast(dict[str, Any], record.extra),
            prompt.messages,
        )

    def with_whole(self, answer: str) -> Self:
        """The same for checks of the user's own, which see the whole answer, prose or not."""
        return self if answer == self.answer else replace(self, answer=answer)

    def copied(self) -> Self:
        """The same for whoever may change it; several times as fast as `dataclasses.replace`."""
        copy, extra = object.__new__(type(self)), self.extra
        own = orjson.loads(dump_extra(extra) or b"{}") if isinstance(extra, dict) else extra.copy()
        copy.__dict__.update(vars(self), extra=own)
        copy.__dict__.pop("words", None)
        return copy

    @cached_property
    def ground(self) -> Ground:
        """What the answer should stand on: the prompt, whose messages every store holds."""
        return Ground(self.messages)

    @property
    def reasoning(self) -> str:
        """What the model thought before the answer; empty if it did not."""
        return self.completion.reasoning

    @property
    def finish_reason(self) -> str | None:
        return self.completion.finish_reason

    @cached_property
    def words(self) -> list[str]:
        """The answer's runs without white space, in lower case, which several checks use."""
        return self.answer.lower().split()

    @cached_property
    def word_count(self) -> int:
        spaced = has_spaced_words(self.answer)
        return len(self.words) if spaced else count_words(self.answer)

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of an answer that is a JSON object; raises `ValueError` for any other."""
        try:
            document = orjson.loads(self.answer)
        except orjson.JSONDecodeError:
            document = None
        if not isinstance(document, dict):
            raise ValueError("the answer is no JSON object, so it has no fields")
        return document


class Finding(NamedTuple):
    """Whether an answer passed, with evidence either way."""

    passed: bool
    evidence: str
    repair: Repair | None = None  # for the next attempt; None if no further one would help
    claims: tuple[Claim, ...] = ()  # what the answer states and the prompt does not hold


class NotStored(BaseException):
    """A recheck was asked for a part of a record that the store does not hold.

    No `Exception`, so that no check takes it for a fault that it can deal with.
    """

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}: not in the store, so a recheck does not know")


class UnknownPassages(Sequence[Passage]):
    """The passages of a stored answer's record; any look at them raises `NotStored`."""

    def __getitem__(self, at: Any) -> Any:
        raise NotStored("passages")

    def __len__(self) -> int:
        raise NotStored("passages")


@dataclass(frozen=True)
class StoredColumns(Mapping[str, Any]):
    """The columns of a stored answer's record, as far as the store holds them.

    Those in `carried` are known, be it that the record has none of that name; with `is_all`, all
    are. A look at any other raises `NotStored`.
    """

    stored: Mapping[str, Any]
    carried: frozenset[str] = frozenset()
    is_all: bool = False

    def __getitem__(self, name: str) -> Any:
        if not (self.is_all or name in self.stored or name in self.carried):
            raise NotStored(f"column {name}")
        return self.stored[name]

    def __iter__(self) -> Iterator[str]:
        self._know_all()
        return iter(self.stored)

    def __len__(self) -> int:
        self._know_all()
        return len(self.stored)

    def copy(self) -> Self:
        return deepcopy(self)

    def _know_all(self) -> None:
        if not self.is_all:
            raise NotStored("the columns that were not carried")


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
