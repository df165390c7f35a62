"""The answer does not go in circles."""

from collections import Counter

from pipeline.answering.checks.base import Finding, Subject, quote
from pipeline.core.records import Level

LEVEL: Level = "fail"

LOOP_WORDS, LOOP_TIMES = 10, 4
"""A run of so many words, so many times, is a loop ..."""

SHORT_WORDS, LARGEST_SHARE, FEWEST_RUNS = 3, 0.5, 30
"""... and so is an answer of some length in which half of all short runs came before."""


def test(subject: Subject) -> Finding:
    words = subject.words
    triples = _runs(words, SHORT_WORDS)
    repeats = len(triples) - len(set(triples))
    share = repeats / len(triples) if triples else 0.0
    # Every loop repeats at least so many triples, which are quicker to count than the loop is.
    if repeats >= (LOOP_WORDS - SHORT_WORDS + 1) * (LOOP_TIMES - 1):
        loop, times = Counter(_runs(words, LOOP_WORDS)).most_common(1)[0]
        if times >= LOOP_TIMES:
            return Finding(False, f"{times} times: {quote(' '.join(loop))}", "sample_anew")
    said = f"{share:.0%} of its word triples came before"
    if len(triples) >= FEWEST_RUNS and share > LARGEST_SHARE:
        often, times = Counter(triples).most_common(1)[0]
        why = f"{said}; {times} times: {quote(' '.join(often))}"
        return Finding(False, why, "sample_anew")
    return Finding(True, said)


def _runs(words: list[str], length: int) -> list[tuple[str, ...]]:
    return list(zip(*(words[i:] for i in range(length)), strict=False))
