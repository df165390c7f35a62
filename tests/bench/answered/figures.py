"""How often the model and people agree, on answers that it has not learned from."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from pipeline.answering.answers_question import LinearModel, combined
from pipeline.core.records import Verdict
from tests.bench.answered.examples import Example
from tests.bench.answered.training import INNER_FOLDS, fit, folds_by, key_of, others_of

ALL = 1_000
"""More folds than there are groups: each group is a fold."""

RESAMPLES = 2_000
BINS = 10

Figures = dict[str, float]
Splits = dict[str, tuple[Callable[[Example], str], int]]

SPLITS: Splits = {
    "papers": (lambda e: e.paper, ALL),
    "models": (lambda e: e.model, ALL),
    "questions": (lambda e: _question_number(e.question), 4),
}
"""What is held out: each paper, each model, each quarter of the questions."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the model says of an answer that it has not learned from, and what people say."""

    paper: str
    model: str
    said: bool
    verdict: Verdict
    probability: float
    with_others: float  # the probability given other models' answers


def held_out(
    examples: Sequence[Example],
    by: Callable[[Example], str],
    folds: int,
    inner_folds: int = INNER_FOLDS,
) -> list[Outcome]:
    """Fits anew for every fold; its answers are judged as a store's are."""
    parts = folds_by(examples, by, folds)
    return [
        outcome
        for train, rest in parts
        for outcome in outcomes_of(LinearModel.of(fit(train, inner_folds)), rest, examples)
    ]


def outcomes_of(
    model: LinearModel, rest: Sequence[Example], examples: Sequence[Example]
) -> list[Outcome]:
    """What a model says of answers that people labelled; `examples` has all beside them."""
    records = {e.record_id for e in rest}
    beside = [e for e in examples if e.record_id in records]
    estimates = {key_of(e): model.estimate(model.score(e.features)) for e in beside}
    probabilities = {key: j.probability for key, j in estimates.items()}
    others = others_of(beside, probabilities)
    return [
        Outcome(
            e.paper,
            e.model,
            e.answers,
            estimates[key_of(e)].verdict,
            probabilities[key_of(e)],
            _with_others(model, probabilities[key_of(e)], others[key_of(e)]),
        )
        for e in rest
        if e.answers is not None
    ]


def _with_others(model: LinearModel, own: float, others: Sequence[float]) -> float:
    if not others:
        return own
    return model.estimate(combined(model.others, own, others)).probability


def figures_of(outcomes: Sequence[Outcome]) -> Figures:
    said = np.array([o.said for o in outcomes])
    own = np.array([o.probability for o in outcomes])
    with_others = np.array([o.with_others for o in outcomes])
    verdicts = np.array([o.verdict for o in outcomes])
    decided = verdicts != "unsure"
    yes, no = verdicts == "yes", verdicts == "no"
    return {
        "agreement": _share((own >= 0.5) == said),
        "kappa": kappa(own >= 0.5, said),
        "covered": _share(decided),
        "decided": _share((yes == said)[decided]),
        "yes is right": _share(said[yes]),
        "no is right": _share(~said[no]),
        "calibration error": calibration_error(own, said),
        "with others": _share((with_others >= 0.5) == said),
        "kappa with others": kappa(with_others >= 0.5, said),
    }


def intervals_of(outcomes: Sequence[Outcome], seed: int = 0) -> dict[str, tuple[float, float]]:
    """95% intervals by a bootstrap over whole papers."""
    papers = sorted({o.paper for o in outcomes})
    of_paper = {paper: [o for o in outcomes if o.paper == paper] for paper in papers}
    random = np.random.default_rng(seed)
    drawn = [
        figures_of([o for p in random.choice(papers, len(papers)) for o in of_paper[p]])
        for _ in range(RESAMPLES)
    ]
    bounds = partial(np.nanpercentile, q=[2.5, 97.5])
    return {
        name: (float(low), float(high))
        for name in drawn[0]
        for low, high in [bounds([figures[name] for figures in drawn])]
    }


def by_model(outcomes: Sequence[Outcome]) -> Mapping[str, list[Outcome]]:
    models = sorted({o.model for o in outcomes})
    return {model: [o for o in outcomes if o.model == model] for model in models}


def kappa(one: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]) -> float:
    """Cohen's; 0 where chance alone agrees always."""
    agreement = float((one == other).mean())
    chance = float(one.mean() * other.mean() + (1 - one.mean()) * (1 - other.mean()))
    return (agreement - chance) / (1 - chance) if chance < 1 else 0.0


def calibration_error(probabilities: npt.NDArray[np.float64], said: npt.NDArray[np.bool_]) -> float:
    """The mean distance of probabilities and shares of yes, in tenths of equal width."""
    bins = np.minimum((probabilities * BINS).astype(int), BINS - 1)
    return sum(
        float(abs(probabilities[bins == b].mean() - said[bins == b].mean()) * (bins == b).mean())
        for b in np.unique(bins)
    )


def _share(holds: npt.NDArray[np.bool_]) -> float:
    return float(holds.mean()) if holds.size else float("nan")


def _question_number(question: str) -> str:
    """By which questions are dealt out in turn: CQ1, CQ5, … are one quarter."""
    number = re.search(r"\d+", question)
    return f"{int(number[0]):09d}" if number else question
