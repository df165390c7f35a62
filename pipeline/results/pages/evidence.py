"""Which sentences of a prompt support an answer.

For every sentence of the answer, the sentence of the prompt that holds most of its content words
supports it, where that is at least half of them; a word counts the more, the fewer sentences of
the prompt it stands in. A rule of thumb for readers, not a verdict.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from math import log

import sentencex

from pipeline.core.text import content_words

ENOUGH = 0.5
FEWEST_WORDS = 3
"""A sentence with fewer content words says too little to be looked for."""


def sentences_of(text: str) -> tuple[str, ...]:
    """A text in sentences, with all that stands between them: joined they are the text again."""
    pieces, at = [], 0
    for sentence in sentencex.segment("en", text):
        found = text.find(sentence, at)
        if not sentence.strip() or found < 0:
            continue
        pieces.append(text[at : found + len(sentence)])
        at = found + len(sentence)
    rest = text[at:]
    if pieces and not rest.strip():
        pieces[-1] += rest
    elif rest:
        pieces.append(rest)
    return tuple(pieces)


def supporting(answer: str, sentences: Sequence[frozenset[str]]) -> set[int]:
    """Numbers of the sentences, given by their content words, that support an answer."""
    holders: defaultdict[str, list[int]] = defaultdict(list)
    for number, words in enumerate(sentences):
        for word in words:
            holders[word].append(number)
    weights = {word: log(1 + len(sentences) / len(held)) for word, held in holders.items()}
    unknown = log(1 + len(sentences))
    found = set()
    for claim in map(content_words, sentences_of(answer)):
        if len(claim) < FEWEST_WORDS:
            continue
        scores = _scores(claim, holders, weights)
        best = max(scores, key=lambda number: (scores[number], -number), default=-1)
        whole = sum(weights.get(word, unknown) for word in claim)
        if scores.get(best, 0.0) >= ENOUGH * whole:
            found.add(best)
    return found


def _scores(
    claim: Iterable[str], holders: Mapping[str, list[int]], weights: Mapping[str, float]
) -> dict[int, float]:
    scores: defaultdict[int, float] = defaultdict(float)
    for word in claim:
        for number in holders.get(word, ()):
            scores[number] += weights[word]
    return scores
