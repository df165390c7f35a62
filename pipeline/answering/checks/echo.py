"""The answer does not repeat the prompt: its frame, placeholder or instructions."""

from collections.abc import Sequence
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

Phrases: TypeAlias = dict[tuple[str, ...], set[tuple[str, ...]]]
"""The prompt's phrases by their first two words, which hardly any answer contains."""

_ASK = Ask("Your answer repeats the wording of the task. Give the answer alone, in your own words.")


def test(subject: Subject) -> Finding:
    text = subject.answer.lower()
    for piece in FRAME:
        if piece in text:
            return Finding(False, f"the prompt's frame in the answer: {piece}", _ASK)
    if phrase := _phrase_of(_phrases(subject.boilerplate), subject.words):
        return Finding(False, f"the prompt's own words: {quote(' '.join(phrase))}", _ASK)
    return Finding(True, f"no {PHRASE_WORDS} words of the prompt in a row")


def _phrase_of(phrases: Phrases, words: Sequence[str]) -> tuple[str, ...] | None:
    """The first of the phrases that the words hold."""
    if phrases.keys().isdisjoint(pairwise(words)):  # as nearly always
        return None
    runs = (tuple(words[at : at + PHRASE_WORDS]) for at in range(len(words)))
    return next((run for run in runs if run in phrases.get(run[:2], ())), None)


@lru_cache(maxsize=256)
def _phrases(boilerplate: str) -> Phrases:
    phrases: Phrases = {}
    words = boilerplate.lower().split()
    for phrase in zip(*(words[i:] for i in range(PHRASE_WORDS)), strict=False):
        phrases.setdefault(phrase[:2], set()).add(phrase)
    return phrases
