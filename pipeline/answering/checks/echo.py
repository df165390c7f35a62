"""The answer does not repeat the prompt: its frame, placeholder or instructions."""

from functools import lru_cache
from itertools import pairwise

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

_ASK = Ask("Your answer repeats the wording of the task. Give the answer alone, in your own words.")


def test(subject: Subject) -> Finding:
    text = subject.answer.lower()
    for piece in FRAME:
        if piece in text:
            return Finding(False, f"the prompt's frame in the answer: {piece}", _ASK)
    phrases = _phrases(subject.boilerplate)
    words = subject.words
    for at, opening in enumerate(pairwise(words)):
        if opening in phrases and tuple(words[at : at + PHRASE_WORDS]) in phrases[opening]:
            phrase = quote(" ".join(words[at : at + PHRASE_WORDS]))
            return Finding(False, f"the prompt's own words: {phrase}", _ASK)
    return Finding(True, f"no {PHRASE_WORDS} words of the prompt in a row")


@lru_cache(maxsize=256)
def _phrases(boilerplate: str) -> dict[tuple[str, str], set[tuple[str, ...]]]:
    """The prompt's phrases by their first two words, which hardly any answer contains."""
    phrases: dict[tuple[str, str], set[tuple[str, ...]]] = {}
    words = boilerplate.lower().split()
    for phrase in zip(*(words[i:] for i in range(PHRASE_WORDS)), strict=False):
        phrases.setdefault(phrase[:2], set()).add(phrase)
    return phrases
