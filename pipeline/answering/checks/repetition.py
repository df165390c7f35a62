"""The answer does not go in circles."""

from collections import Counter

from pipeline.answering.checks.base import Finding, Subject, quote
from pipeline.core.records import Level

LEVEL: Level = "fail"

LOOP_WORDS, LOOP_TIMES = 10, 4
"""The same `LOOP_WORDS` words, `LOOP_TIMES` times, are a loop ..."""

SHORT_WORDS, LARGEST_SHARE, FEWEST_RUNS = 3, 0.5, 30
"""... and so is a longer answer in which more than half of all word triples are repeats."""


def test(subject: Subject) -> Finding:
    words = subject.words
    triples = _runs(words, SHORT_WORDS)
    repeats = len(triples) - len(set(triples))
    share = repeats / len(triples) if triples else 0.0
    # Every loop has at least this many repeated triples, and they are faster to count.
    if repeats >= (LOOP_WORDS - SHORT_WORDS + 1) * (LOOP_TIMES - 1):
        loop, times = Counter(_runs(words, LOOP_WORDS)).most_common(1)[0]
        if times >= LOOP_TIMES:
            return Finding(False, f"{times} times: {quote(' '.join(loop))}", "sample_anew")
    evidence = f"{share:.0%} of its word triples came before"
    if len(triples) >= FEWEST_RUNS and share > LARGEST_SHARE:
        often, times = Counter(triples).most_common(1)[0]
        why = f"{evidence}; {times} times: {quote(' '.join(often))}"
        return Finding(False, why, "sample_anew")
    return Finding(True, evidence)


def _runs(words: list[str], length: int) -> list[tuple[str, ...]]:
    return list(zip(*(words[i:] for i in range(length)), strict=False))
