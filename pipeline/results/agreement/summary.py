"""The agreement of all raters of a store: every pair, every group, the majority, by question."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, NamedTuple, get_args

import numpy as np

from pipeline.core.text import natural
from pipeline.results.agreement.conversion import (
    DESCRIBED,
    MISSING,
    NO,
    UNSURE,
    WORDS,
    YES,
    Codes,
)
from pipeline.results.agreement.measures import (
    LEVEL,
    RESAMPLES,
    Figure,
    Floats,
    Group,
    Pair,
    counts,
    group,
    pairs,
    yes_shares,
)
from pipeline.results.agreement.ratings import Kind, Rater, Ratings

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
class OfPair:
    raters: tuple[Rater, Rater]
    whole: Pair
    questions: Sequence[Pair]


@dataclass(frozen=True, slots=True)
class OfGroup:
    raters: Sequence[Rater]
    whole: Group
    questions: Sequence[Group]


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
    pairs: Sequence[OfPair]
    groups: Sequence[OfGroup]
    majority: Majority
    seed: int


def agree(ratings: Ratings, seed: int = SEED) -> Agreement:
    """How far the raters agree. Pairs that rate nothing in common are left out."""
    names = ratings.question.names
    number = len(names) if 1 < len(names) <= MAX_QUESTIONS else 1
    order = sorted(range(number), key=lambda i: natural(names[i])) if number > 1 else []
    every_pair = [
        OfPair(two, whole, [by_question[i] for i in order])
        for two in combinations(ratings.raters, 2)
        for whole, *by_question in [pairs(ratings.cells(*two), number, seed)]
    ]
    return Agreement(
        ratings,
        [names[i] for i in order],
        [_of_rater(ratings, rater, number, order, seed) for rater in ratings.raters],
        [pair for pair in every_pair if pair.whole.n],
        [
            OfGroup(raters, whole, [by_question[i] for i in order])
            for kind in get_args(Kind)
            if len(raters := ratings.of_kind(kind)) > 1
            for whole, *by_question in [group(ratings.cells(*raters), number, seed)]
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


def as_document(agreement: Agreement) -> dict[str, Any]:
    """The figures for `--json`."""
    ratings = agreement.ratings
    names = agreement.questions
    return {
        "conversion": {"name": ratings.conversion, "means": DESCRIBED[ratings.conversion]},
        "records": len(ratings.record.names),
        "answers": ratings.rows.num_rows,
        "papers": len(ratings.paper.names),
        "interval": {"per_cent": LEVEL, "resamples": RESAMPLES, "seed": agreement.seed},
        "stale": ratings.stale,
        "raters": [
            {
                "rater": str(of.rater),
                "of": "records" if of.rater.kind == "model" else "answers",
                **of.counts,
                "missing": of.missing,
                "yes_share": of.yes_share._asdict(),
                "questions": [
                    {"question": name, "yes_share": figure._asdict()}
                    for name, figure in zip(names, of.questions, strict=True)
                ],
            }
            for of in agreement.raters
        ],
        "pairs": [
            {
                "raters": [str(rater) for rater in of.raters],
                **_pair(of.whole),
                "questions": [
                    {"question": name, **_pair(pair)}
                    for name, pair in zip(names, of.questions, strict=True)
                ],
            }
            for of in agreement.pairs
        ],
        "fleiss": [
            {
                "raters": [str(rater) for rater in of.raters],
                **_group(of.whole),
                "questions": [
                    {"question": name, **_group(group)}
                    for name, group in zip(names, of.questions, strict=True)
                ],
            }
            for of in agreement.groups
        ],
        "majority": {"of": agreement.majority.of, **majority_counts(agreement.majority)},
    }


def majority_counts(majority: Majority) -> dict[str, int]:
    """On how many records most say what; `missing`: nobody says anything."""
    said = {word: int((majority.codes == code).sum()) for code, word in WORDS.items()}
    return {**said, "missing": int((majority.codes == MISSING).sum())}


def _pair(pair: Pair) -> dict[str, Any]:
    return {
        "n": pair.n,
        "kappa": pair.kappa._asdict(),
        "agreement": pair.agreement._asdict(),
        "yes_share": list(pair.yes_share),
    }


def _group(group: Group) -> dict[str, Any]:
    return {
        "n": group.n,
        "kappa": group.kappa._asdict(),
        "unanimous": group.unanimous._asdict(),
        "yes_share": group.yes_share,
    }
