"""The answer does not go in circles."""

from collections import Counter

from pipeline.checks.subject import Finding, Subject, quote
from pipeline.model import Level

LEVEL: Level = "fail"

LOOP_WORDS, LOOP_TIMES = 10, 4
"""A run of so many words, so many times, is a loop ..."""

SHORT_WORDS, LARGEST_SHARE, FEWEST_RUNS = 3, 0.5, 30
"""... and so is an answer of some length in which half of all short runs came before."""


def test(subject: Subject) -> Finding:
    words = subject.answer.lower().split()
    if len(words) >= LOOP_WORDS:
        loop, times = Counter(_runs(words, LOOP_WORDS)).most_common(1)[0]
        if times >= LOOP_TIMES:
            return Finding(False, f"{times} times: {quote(' '.join(loop))}")
    runs = Counter(_runs(words, SHORT_WORDS))
    total = runs.total()
    share = 1 - len(runs) / total if total else 0.0
    if total >= FEWEST_RUNS and share > LARGEST_SHARE:
        often, times = runs.most_common(1)[0]
        return Finding(
            False, f"{share:.0%} of its word triples came before; {times} times: {' '.join(often)}"
        )
    return Finding(True, f"{share:.0%} of its word triples came before")


def _runs(words: list[str], length: int) -> list[tuple[str, ...]]:
    return list(zip(*(words[i:] for i in range(length)), strict=False))
