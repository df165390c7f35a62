"""What an answer should stand on: the text of its prompt.

That is what the model has read, passages and question included, and what every store holds; so a
recheck judges as the run did.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import NamedTuple

from pipeline.answering.grounding.folded import folded
from pipeline.answering.grounding.held_numbers import HeldNumbers
from pipeline.answering.grounding.letters import Letters, letters_of
from pipeline.answering.grounding.sentences import Sentence, sentences_of
from pipeline.core.records import Message
from pipeline.core.text import content_words

GAP = "\n\n"
"""Stands between two messages."""


class Spot(NamedTuple):
    """A place in a prompt: a message, by its number from 0, and offsets into its content."""

    message: int
    start: int
    end: int


@dataclass(frozen=True)
class Ground:
    """The messages of a prompt as one text."""

    messages: Sequence[Message]

    @cached_property
    def text(self) -> str:
        return GAP.join(message.content for message in self.messages)

    @cached_property
    def letters(self) -> Letters:
        """The letters and digits of `text`."""
        return letters_of(self.text)

    @cached_property
    def sentences(self) -> list[tuple[Sentence, frozenset[str]]]:
        """The sentences of `text`, each with its content words."""
        return [(found, content_words(found.text)) for found in sentences_of(self.text)]

    @cached_property
    def numbers(self) -> HeldNumbers:
        """The numbers of `text`, which are looked for when they are first asked for."""
        return HeldNumbers(self.text)

    @cached_property
    def folded(self) -> str:
        """`text` as names are compared in it."""
        return folded(self.text)

    def spot(self, start: int, end: int) -> Spot:
        """The message that holds these offsets of `text`, and the offsets there."""
        lengths = (len(message.content) + len(GAP) for message in self.messages)
        starts = list(accumulate(lengths, initial=0))[:-1]
        message = bisect_right(starts, start) - 1
        return Spot(message, start - starts[message], end - starts[message])
