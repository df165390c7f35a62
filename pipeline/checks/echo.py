"""The answer does not repeat the prompt's own words: its frame, placeholder or instructions."""

import re
from functools import lru_cache

from pipeline.checks.subject import Finding, Subject, quote
from pipeline.model import Level

LEVEL: Level = "fail"

PHRASE_WORDS = 8
"""A run of this many of the prompt's own words is no coincidence."""

_FRAME = re.compile(
    r"(?i)answer\s*:{2,}|\((?:please )?(?:provide|write|insert|give) your answer[^)]*\)"
    r"|\[(?:your|insert) (?:your )?answer[^\]]*\]|%INSTRUCTIONS|%Query\b"
)


def test(subject: Subject) -> Finding:
    if found := _FRAME.search(subject.answer):
        return Finding(False, f"the prompt's frame in the answer: {quote(found[0])}")
    told = _phrases(subject.boilerplate)
    for phrase in _runs(subject.answer):
        if phrase in told:
            return Finding(False, f"the prompt's own words: {' '.join(phrase)}")
    return Finding(True, f"no {PHRASE_WORDS} words of the prompt in a row")


@lru_cache(maxsize=256)
def _phrases(boilerplate: str) -> frozenset[tuple[str, ...]]:
    return frozenset(_runs(boilerplate))


def _runs(text: str) -> list[tuple[str, ...]]:
    words = text.lower().split()
    return list(zip(*(words[i:] for i in range(PHRASE_WORDS)), strict=False))
