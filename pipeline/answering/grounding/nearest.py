"""The place in a prompt that is nearest to what an answer says.

That is the sentence of the passages that shares most words with the answer's sentence, each counted
by how rare it is in the prompt. It shows a reader where to look, and proves nothing.
"""

from collections import Counter
from math import log

from pipeline.answering.checks.base import Subject
from pipeline.answering.ground import Spot
from pipeline.answering.grounding.sentences import sentence_at
from pipeline.core.records import Claim, ClaimKind
from pipeline.core.text import content_words

FEWEST_WORDS = 2
"""Content words that a sentence of the prompt shares with one that it is near to, at least."""

OTHER_WORDS = 0.2
"""Share of a sentence's words that are not those of the question and the instructions, at least."""


def claim_at(subject: Subject, kind: ClaimKind, start: int, end: int) -> Claim:
    """The claim at these offsets of the answer, with the nearest place in the prompt."""
    spot = nearest(subject, sentence_at(subject.answer, start).text)
    return Claim(kind, subject.answer[start:end], start, end, *(spot or ()))


def nearest(subject: Subject, said: str) -> Spot | None:
    """The sentence of the prompt that is nearest to what is said; None if none shares enough.

    The question and the instructions are passed over: answers repeat their words anyway.
    """
    words = content_words(said)
    own = content_words(f"{subject.question} {subject.boilerplate}")
    sentences = subject.ground.sentences
    shared = [words & known for _, known in sentences]
    seen_in = Counter(word for some in shared for word in some)
    weights = {word: log(1 + len(sentences) / times) for word, times in seen_in.items()}
    scores = [sum(map(weights.__getitem__, some)) for some in shared]
    for at in sorted(range(len(sentences)), key=lambda at: -scores[at]):
        sentence, known = sentences[at]
        if len(shared[at]) >= FEWEST_WORDS and len(known - own) >= OTHER_WORDS * len(known):
            return subject.ground.spot(sentence.start, sentence.end)
    return None
