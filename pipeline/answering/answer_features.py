"""What is seen of an answer by the model that tells whether it answers.

Words and pairs of words, each under what its sentence does: a word of a denial says something else
than the same word of a statement. Besides, what the sentences do and in which order, and how much
of what the answer says its prompt holds. Every value lies between 0 and about 2.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, groupby, islice, pairwise
from math import log1p
from typing import TypeAlias

from pipeline.answering.stance import Sentence, SentenceKind, concedes, kind_of, sentences_of
from pipeline.core.records import Stance

Term: TypeAlias = str | tuple[str, str]
"""A word, or two words that follow each other."""


@dataclass(frozen=True, slots=True)
class Features:
    """Words and pairs of words by the kind of their sentences, and values by name; what is not
    named is 0.
    """

    terms: Mapping[SentenceKind, frozenset[Term]]
    values: Mapping[str, float]

    def named(self) -> dict[str, float]:
        """All of them by names that are different."""
        terms = {term_name(kind, t): 1.0 for kind, of in self.terms.items() for t in of}
        return {**terms, **self.values}


def term_name(kind: SentenceKind, term: Term) -> str:
    return f"{kind}: {term if isinstance(term, str) else ' '.join(term)}"


KINDS: tuple[SentenceKind, ...] = ("denies", "generalises", "infers", "states")

_WORD = re.compile(r"[^\W_]+(?:['’]t)?")
_LINK = re.compile(r"https?:|www\.|\bdoi\b")
_LINK_PARTS = ("http", "www.", "doi")
_LIST = re.compile(r"(?m)^\s*(?:[-*•]|\d+[.)])\s")
_NUMBER = "0"
"""Stands for every number, so that no feature is a number of one paper."""

_WEIGHT = 2.0
"""Of the features that are no words: there are few, and a penalty on weights would else lose them
among thousands of words."""

MOST_SENTENCES = 60
"""Looked at, from the front; an answer in circles would else take as long as it is."""

_COMMON_WORDS = (
    "a about according after all also an and any are as at authors based be been before being"
    " between both but by can context could did do document does during e each either for from g"
    " given had has have he her here his how however i if in into is it its know made may mention"
    " mentioned mentions might more most no nor not of on one only or other our paper passage"
    " passages provided question query she should so some specific specifically state stated states"
    " study such text than that the their then there therefore these they this those through thus"
    " to under use used uses using was we were what when where which while who why will with within"
    " would you"
)
_COMMON = frozenset(_COMMON_WORDS.split())
"""Words of most answers and most prompts."""


def features_of(answer: str, stance: Stance, question: str | None, ground: str) -> Features:
    """The features of an answer to a question, whose prompt is `ground`."""
    low = answer.lower()
    sentences = list(islice(sentences_of(low), MOST_SENTENCES))
    kinds = [kind_of(sentence) for sentence in sentences]
    words = [_words(sentence) for sentence in sentences]
    asked = frozenset(_WORD.findall((question or "").lower())) - _COMMON
    structure = {
        f"stance {stance}": 1.0,
        "link": float(any(part in low for part in _LINK_PARTS) and bool(_LINK.search(low))),
        "list": float(bool(_LIST.search(low))),
        "quotation": float('"' in low or "“" in low),
        "number": float(any(map(str.isdigit, chain.from_iterable(words)))),
        **_kinds(sentences, kinds),
        **_overlap(words, kinds, asked, ground.lower().replace((question or "\0").lower(), " ")),
    }
    values = {name: value * _WEIGHT for name, value in structure.items() if value}
    return Features(_terms(words, kinds), values)


def _words(sentence: Sentence) -> list[str]:
    """A sentence's words, of which `don't` is one."""
    text = sentence.text
    return _WORD.findall(text) if "'t" in text or "’t" in text else sentence.words


def _terms(
    words: Iterable[Sequence[str]], kinds: Iterable[SentenceKind]
) -> dict[SentenceKind, frozenset[Term]]:
    """The words and pairs of each kind of sentence; how often does not matter."""
    found: dict[SentenceKind, set[Term]] = {}
    for sentence, kind in zip(words, kinds, strict=True):
        masked = [_NUMBER if word[0].isdigit() else word for word in sentence]
        found.setdefault(kind, set()).update(masked, pairwise(masked))
    return {kind: frozenset(terms) for kind, terms in found.items()}


def _kinds(sentences: Sequence[Sentence], kinds: Sequence[SentenceKind]) -> dict[str, float]:
    """What the sentences do: how many of them, which of them first and last, in which order."""
    if not sentences:
        return {}
    lengths, count = [len(sentence.text) for sentence in sentences], len(sentences)
    conceding = [concedes(s, kind) for s, kind in zip(sentences, kinds, strict=True)]
    order = [kind for kind, _ in groupby(kinds)]
    values = {
        "sentences": log1p(count) / 3,
        "words": log1p(sum(lengths) / 6) / 6,
        "one sentence": float(count == 1),
        "concedes first": float(conceding[0]),
        "concedes later": float(any(conceding[1:])),
        f"first {kinds[0]}": 1.0,
        f"last {kinds[-1]}": 1.0,
        f"order {' '.join(order[:3])}": 1.0,
        f"end {' '.join(order[-2:])}": 1.0,
    }
    if count > 1:
        values[f"second {kinds[1]}"] = 1.0
    for kind in set(kinds):
        length = sum(n for n, of in zip(lengths, kinds, strict=True) if of == kind)
        values[f"share of sentences {kind}"] = kinds.count(kind) / count
        values[f"share of letters {kind}"] = length / sum(lengths)
        values[f"sentences {kind}"] = log1p(kinds.count(kind)) / 3
        values[f"letters {kind}"] = log1p(length) / 7
        values[f"later {kind}"] = float(kind in kinds[1:])
    return values


def _overlap(
    words: Sequence[Sequence[str]],
    kinds: Sequence[SentenceKind],
    asked: frozenset[str],
    ground: str,
) -> dict[str, float]:
    """How many of the answer's own words, those that the question does not bring, the prompt holds:
    in all, in the sentences that deny nothing, and in the opening.
    """
    if not words:
        return {}
    own = [_long(set(of).difference(_COMMON, asked)) for of in words]
    every = set[str]().union(*own)
    told = (of for of, kind in zip(own, kinds, strict=True) if kind != "denies")
    said = asked.intersection(chain.from_iterable(words))
    held = frozenset(w for w in asked | every if w in ground)
    parts = {"all": every, "told": set[str]().union(*told), "first": own[0]}
    values = {
        "question repeated": len(said) / max(1, len(asked)),
        "question in prompt": len(asked & held) / max(1, len(asked)),
    }
    for name, part in parts.items():
        hits = len(part & held)
        values[f"held share {name}"] = (hits + 1) / (len(part) + 2)
        values[f"held {name}"] = log1p(hits) / 5
        values[f"not held {name}"] = log1p(len(part) - hits) / 5
    return values


def _long(words: Iterable[str]) -> set[str]:
    """Without single letters."""
    return {word for word in words if len(word) > 1}
