"""Whether an answer gives the information that its question asks for, by a small linear model.

Its weights are data of the package, learned from people's judgements: `answers_question.json` says
of which, and `tests/bench/answered` makes it. The probability is calibrated; between the two bounds
of the file the verdict is *unsure*.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from importlib.resources import files
from itertools import chain
from math import exp, fsum, log
from statistics import fmean
from typing import Any, NamedTuple, Self

import orjson

from pipeline.answering.answer_features import KINDS, Features, Term, features_of, term_name
from pipeline.answering.stance import SentenceKind
from pipeline.core.errors import ConfigError
from pipeline.core.records import Stance, Verdict

WEIGHTS = "answers_question.json"

_LEAST = 1e-4
"""For log odds no probability is nearer to 0 or 1, which have none."""


_STEPS = 4096
"""Of probabilities, between 0 and 1: finer ones say nothing and would differ between machines.
Each is the same number in the 32 bits of the store.
"""


class Estimate(NamedTuple):
    """A verdict with the probability that the answer gives what is asked for."""

    verdict: Verdict
    probability: float


@dataclass(frozen=True, slots=True)
class Others:
    """How much the other models' answers to a question say about one of them: the weights of its
    own log odds, and of the mean of the others' probabilities.
    """

    bias: float
    own: float
    others: float


@dataclass(frozen=True, slots=True)
class LinearModel:
    """Weights of words and pairs by kind of sentence, and of other features by name."""

    bias: float
    terms: Mapping[SentenceKind, Mapping[Term, float]]
    values: Mapping[str, float]
    unsure: tuple[float, float]
    others: Others

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Self:
        """From the content of a file of weights."""
        weights: dict[str, float] = content["weights"]
        terms: dict[SentenceKind, dict[Term, float]] = {kind: {} for kind in KINDS}
        for kind in KINDS:
            start = term_name(kind, "")
            terms[kind] = {
                _term(n.removeprefix(start)): w for n, w in weights.items() if n.startswith(start)
            }
        low, high = content["unsure"]
        return cls(content["bias"], terms, weights, (low, high), Others(**content["others"]))

    def score(self, features: Features) -> float:
        """The logarithm of the odds that the answer gives what is asked for."""
        terms = (
            map(self.terms[kind].__getitem__, self.terms[kind].keys() & found)
            for kind, found in features.terms.items()
        )
        values = (self.values.get(name, 0.0) * value for name, value in features.values.items())
        return fsum(chain([self.bias], values, *terms))  # the same in any order

    def estimate(self, score: float) -> Estimate:
        probability = round(_STEPS / (1 + exp(-max(score, -700.0)))) / _STEPS
        low, high = self.unsure
        if low < probability < high:
            return Estimate("unsure", probability)
        return Estimate("yes" if probability >= high else "no", probability)


def _term(name: str) -> Term:
    """A word, or the two words of a pair, as the file has it."""
    first, _, second = name.partition(" ")
    return (first, second) if second else first


def estimate(answer: str, stance: Stance, question: str | None, ground: str) -> Estimate:
    """Whether an answer in prose, of this stance, answers the question of the prompt `ground`."""
    model = packaged_model()
    return model.estimate(model.score(features_of(answer, stance, question, ground)))


def estimate_with_others(own: float, others: Sequence[float]) -> Estimate:
    """The verdict on an answer, given `p_answered` of it and of other models' answers to the same
    record and question; without any, that on the answer alone.
    """
    model = packaged_model()
    if not others:
        return model.estimate(log_odds(own))
    return model.estimate(combined(model.others, own, others))


def combined(weights: Others, own: float, others: Sequence[float]) -> float:
    """The logarithm of the odds from an answer's own probability and those of others."""
    return weights.bias + weights.own * log_odds(own) + weights.others * fmean(others)


def log_odds(probability: float) -> float:
    bounded = min(max(probability, _LEAST), 1 - _LEAST)
    return log(bounded / (1 - bounded))


@cache
def packaged_model() -> LinearModel:
    """The model of the package, read once in a process."""
    data = files("pipeline.answering").joinpath(WEIGHTS).read_bytes()
    return LinearModel.of(weights_of(data, WEIGHTS))


def weights_of(data: bytes, name: str) -> dict[str, Any]:
    """The content of a file of weights.

    Raises `ConfigError` if its digest is not that of its content, as in a file that was cut off or
    changed by hand.
    """
    content: dict[str, Any] = {}
    with suppress(orjson.JSONDecodeError, TypeError):
        content = {**orjson.loads(data)}
    stated = content.pop("digest", None)
    if not stated or stated != digest_of(content):
        raise ConfigError(
            f"{name}: its digest is not that of its content; install the package again"
        )
    return content


def digest_of(content: Mapping[str, Any]) -> str:
    """32 hex digits: a BLAKE2b hash (128 bits) of a file's content as canonical JSON."""
    return blake2b(orjson.dumps(content, option=orjson.OPT_SORT_KEYS), digest_size=16).hexdigest()


def as_file(content: Mapping[str, Any]) -> bytes:
    """A file of weights with its digest; the same content gives the same bytes."""
    options = orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    return orjson.dumps({**content, "digest": digest_of(content)}, option=options)
