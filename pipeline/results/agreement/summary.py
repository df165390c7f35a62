"""The agreement of all raters of a store: every pair, every group, the majority, by question."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple, get_args

import numpy as np

from pipeline.core.text import natural
from pipeline.results.agreement.conversion import (
    MISSING,
    NO,
    UNSURE,
    YES,
    Codes,
)
from pipeline.results.agreement.measures import (
    Agreed,
    Figure,
    Floats,
    counts,
    of_several,
    of_two,
    yes_shares,
)
from pipeline.results.agreement.raters import Kind, Rater
from pipeline.results.agreement.ratings import Ratings

SEED = 0
MAX_QUESTIONS = 200
"""Questions of a store that has more are not told apart: each would have next to no answers."""


@dataclass(frozen=True, slots=True)
class OfRater:
    """What a rater says: of records, for a model; else of answers."""

    rater: Rater
    counts: Mapping[str, int]
    missing: int
    yes_share: Figure
    questions: Sequence[Figure]


@dataclass(frozen=True, slots=True)
class OfRaters:
    """How far two raters agree, or all of a kind."""

    raters: Sequence[Rater]
    whole: Agreed
    questions: Sequence[Agreed]


class Majority(NamedTuple):
    """What most raters say of each record, and which share of those who decide: NaN if none."""

    codes: Codes
    share: Floats
    of: str  # whose majority it is


@dataclass(frozen=True, slots=True)
class Agreement:
    """All figures. `questions` are in the order of every list by question, and empty if there is
    only one, or more than `MAX_QUESTIONS`.
    """

    ratings: Ratings
    questions: Sequence[str]
    raters: Sequence[OfRater]
    pairs: Sequence[OfRaters]
    groups: Sequence[OfRaters]
    majority: Majority
    seed: int


def agree(ratings: Ratings, seed: int = SEED) -> Agreement:
    """How far the raters agree. Pairs that rate nothing in common are left out."""
    names = ratings.question.names
    number = len(names) if 1 < len(names) <= MAX_QUESTIONS else 1
    order = sorted(range(number), key=lambda i: natural(names[i])) if number > 1 else []
    every_pair = [
        OfRaters(two, whole, [by_question[i] for i in order])
        for two in combinations(ratings.raters, 2)
        for whole, *by_question in [of_two(ratings.cells(*two), number, seed)]
    ]
    return Agreement(
        ratings,
        [names[i] for i in order],
        [_of_rater(ratings, rater, number, order, seed) for rater in ratings.raters],
        [pair for pair in every_pair if pair.whole.n],
        [
            OfRaters(raters, whole, [by_question[i] for i in order])
            for kind in get_args(Kind)
            if len(raters := ratings.of_kind(kind)) > 1
            for whole, *by_question in [of_several(ratings.cells(*raters), number, seed)]
        ],
        majority(ratings),
        seed,
    )


def _of_rater(
    ratings: Ratings, rater: Rater, number: int, order: Sequence[int], seed: int
) -> OfRater:
    cells = ratings.cells(rater)
    whole, *by_question = yes_shares(cells, number, seed)
    (codes,) = cells.codes
    missing = int((codes == MISSING).sum())
    return OfRater(rater, counts(codes), missing, whole, [by_question[i] for i in order])


def columns(ratings: Ratings) -> Iterator[tuple[str, Rater, Rater | None, Codes]]:
    """What is said of each record, rater by rater: name, rater, whose answers, codes by record.

    A judge or a person has a column for each model whose answers they rate.
    """
    models = [Rater("model", name) for name in sorted(ratings.model.names)]
    for rater in ratings.raters:
        if rater.kind == "model":
            yield str(rater), rater, None, ratings.by_record(rater)
            continue
        for model in models:
            codes = ratings.by_record(model, ratings.readers[rater])
            if (codes != MISSING).any():
                name = f"{rater} on {model.name}" if len(models) > 1 else str(rater)
                yield name, rater, model, codes


def majority(ratings: Ratings) -> Majority:
    """What most say of each record: the models if there are two, else all raters of its answer.

    Who says nothing has no vote, nor has who is unsure. As many yes as no is unsure.
    """
    several = len(ratings.of_kind("model")) > 1
    votes = [
        codes for _, rater, _, codes in columns(ratings) if rater.kind == "model" or not several
    ]
    said = np.stack(votes)
    yes, no = (said == YES).sum(axis=0), (said == NO).sum(axis=0)
    codes = np.where(yes > no, YES, np.where(no > yes, NO, UNSURE))
    codes[(said == MISSING).all(axis=0)] = MISSING
    with np.errstate(invalid="ignore"):
        share = np.maximum(yes, no) / (yes + no)
    return Majority(codes.astype(np.int8), share, "models" if several else "raters")
