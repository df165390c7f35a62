"""Finds the sentences of a prompt that support an answer.

Each sentence of the answer is matched with the prompt sentence that contains most of its content
words, weighted by how rare they are in the prompt. If that covers at least half of the weight, the
prompt sentence supports the answer. A rule of thumb for readers, not a verdict.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from math import log

import sentencex

from pipeline.core.text import content_words

MIN_COVERAGE = 0.5
MIN_WORDS = 3
"""A sentence with fewer content words says too little to be matched."""


def sentences_of(text: str) -> tuple[str, ...]:
    """A text in sentences with the space between them, so that joined they are the text again."""
    sentences, end = [], 0
    for sentence in sentencex.segment("en", text):
        start = text.find(sentence, end)
        if not sentence.strip() or start < 0:
            continue
        sentences.append(text[end : start + len(sentence)])
        end = start + len(sentence)
    rest = text[end:]
    if sentences and not rest.strip():
        sentences[-1] += rest
    elif rest:
        sentences.append(rest)
    return tuple(sentences)


def supporting(answer: str, sentences: Sequence[frozenset[str]]) -> set[int]:
    """Indices of the sentences, given as their content words, that support an answer."""
    containing: defaultdict[str, list[int]] = defaultdict(list)
    for number, words in enumerate(sentences):
        for word in words:
            containing[word].append(number)
    weights = {word: log(1 + len(sentences) / len(n)) for word, n in containing.items()}
    unknown = log(1 + len(sentences))
    support = set()
    for claim in map(content_words, sentences_of(answer)):
        scores = _scores(claim, containing, weights)
        if len(claim) < MIN_WORDS or not scores:
            continue
        best = max(scores, key=lambda number: (scores[number], -number))
        total = sum(weights.get(word, unknown) for word in claim)
        if scores[best] >= MIN_COVERAGE * total:
            support.add(best)
    return support


def _scores(
    claim: Iterable[str], containing: Mapping[str, list[int]], weights: Mapping[str, float]
) -> dict[int, float]:
    scores: defaultdict[int, float] = defaultdict(float)
    for word in claim:
        for number in containing.get(word, ()):
            scores[number] += weights[word]
    return scores
