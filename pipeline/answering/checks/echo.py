"""The answer does not repeat the prompt: its frame, placeholder or instructions."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import TypeAlias

from pipeline.answering.checks.base import Finding, Subject, quote
from pipeline.core.records import Ask, Level

LEVEL: Level = "fail"
OF_PROSE = True

PHRASE_WORDS = 8
"""This many words of the prompt in a row are no coincidence."""

FRAME = (
    "answer:::",
    "answer：：：",
    "(provide your answer",
    "(your answer",
    "[your answer",
    "[insert answer",
    "%instructions",
    "%query",
)
"""Pieces of a frame, in lower case, that no answer contains."""

_STRIDE = PHRASE_WORDS - 1
"""A phrase holds one of any so many pairs of words in a row: the others need not be looked up."""

Words: TypeAlias = tuple[str, ...]

_ASK = Ask("Your answer repeats the wording of the task. Give the answer alone, in your own words.")


def test(subject: Subject) -> Finding:
    text = subject.answer.lower()
    for piece in FRAME:
        if piece in text:
            return Finding(False, f"the prompt's frame in the answer: {piece}", _ASK)
    if phrase := _phrase_of(subject.boilerplate, subject.words):
        return Finding(False, f"the prompt's own words: {quote(' '.join(phrase))}", _ASK)
    return Finding(True, f"no {PHRASE_WORDS} words of the prompt in a row")


def _phrase_of(boilerplate: str, words: Sequence[str]) -> Words | None:
    """The first phrase of the prompt that the words hold."""
    phrases, pairs = _phrases(boilerplate)
    if pairs.isdisjoint(zip(words[::_STRIDE], words[1::_STRIDE], strict=False)):  # as nearly always
        return None
    return next((run for run in _runs(words, PHRASE_WORDS) if run in phrases), None)


@lru_cache(maxsize=256)
def _phrases(boilerplate: str) -> tuple[frozenset[Words], frozenset[Words]]:
    """The phrases of a prompt, and its pairs of neighbouring words."""
    words = boilerplate.lower().split()
    return frozenset(_runs(words, PHRASE_WORDS)), frozenset(pairwise(words))


def _runs(words: Sequence[str], length: int) -> Iterator[Words]:
    """Every run of so many words."""
    return zip(*(words[at:] for at in range(length)), strict=False)
