"""Fits the model: weights by logistic regression, calibrated on answers that it has not seen."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import LogisticRegression

from pipeline.answering.answers_question import LinearModel, Others, log_odds
from tests.bench.answered.examples import Example

PENALTY = 0.1
"""scikit-learn's C: smaller weights for a smaller one."""

MIN_PAPERS = 3
"""Words of fewer papers are words about these papers, and say nothing about others."""

INNER_FOLDS = 5
COVERED = 0.82
"""The share of answers that are decided; the others, nearest to even odds, are *unsure*."""

SMALLEST = 0.002
"""Weights below it are left out: no answer has enough of them to matter."""

UNCALIBRATED: dict[str, Any] = {
    "unsure": [0.5, 0.5],
    "others": {"bias": 0.0, "own": 1.0, "others": 0.0},
}

Scores = dict[tuple[str, str], float]
"""Log odds by record and model."""


def fit(examples: Sequence[Example], inner_folds: int = INNER_FOLDS) -> dict[str, Any]:
    """The content of a file of weights, without where they come from.

    Examples without a judgement serve to learn what other models' answers say. The same examples
    give the same weights.
    """
    scores = held_out_scores(examples, inner_folds)
    labelled = [e for e in examples if e.answers is not None]
    said = np.array([e.answers for e in labelled])
    slope, offset = _calibration(np.array([scores[key_of(e)] for e in labelled]), said)
    content = _weights(labelled)
    calibrated = {key: slope * score + offset for key, score in scores.items()}
    content["bias"] = round(slope * content["bias"] + offset, 5)
    content["weights"] = {
        name: round(slope * weight, 5)
        for name, weight in sorted(content["weights"].items())
        if abs(slope * weight) >= SMALLEST
    }
    content["unsure"] = _unsure(np.array([calibrated[key_of(e)] for e in labelled]))
    content["others"] = _others(labelled, examples, calibrated)
    return content


def held_out_scores(examples: Sequence[Example], folds: int) -> Scores:
    """Each answer's score by a model that has seen no answer about its paper."""
    scores: Scores = {}
    for train, rest in folds_by(examples, lambda e: e.paper, folds):
        model = LinearModel.of(_weights([e for e in train if e.answers is not None]))
        scores.update({key_of(e): model.score(e.features) for e in rest})
    return scores


def folds_by(
    examples: Sequence[Example], group: Callable[[Example], str], folds: int
) -> list[tuple[list[Example], list[Example]]]:
    """Training and held-out examples; those of one group stay together."""
    fold_of = {name: at % folds for at, name in enumerate(sorted({group(e) for e in examples}))}
    return [
        (
            [e for e in examples if fold_of[group(e)] != fold],
            [e for e in examples if fold_of[group(e)] == fold],
        )
        for fold in sorted(set(fold_of.values()))
    ]


def _weights(labelled: Sequence[Example]) -> dict[str, Any]:
    named = [e.features.named() for e in labelled]
    papers: dict[str, set[str]] = defaultdict(set)
    for example, features in zip(labelled, named, strict=True):
        for name in features:
            papers[name].add(example.paper)
    known = {name for name, of in papers.items() if len(of) >= MIN_PAPERS}
    vectorizer = DictVectorizer()
    table = vectorizer.fit_transform([{n: f[n] for n in f if n in known} for f in named])
    regression = LogisticRegression(C=PENALTY, max_iter=5000)
    regression.fit(table, [bool(e.answers) for e in labelled])
    weights = dict(zip(vectorizer.feature_names_, regression.coef_[0].tolist(), strict=True))
    return {"bias": float(regression.intercept_[0]), "weights": weights, **UNCALIBRATED}


def _calibration(
    scores: npt.NDArray[np.float64], said: npt.NDArray[np.bool_]
) -> tuple[float, float]:
    """Platt's scaling: slope and offset that make probabilities of held-out scores."""
    fitted = LogisticRegression(C=1e6).fit(scores.reshape(-1, 1), said)
    return float(fitted.coef_[0, 0]), float(fitted.intercept_[0])


def _unsure(scores: npt.NDArray[np.float64]) -> list[float]:
    distances = np.abs(1 / (1 + np.exp(-scores)) - 0.5)
    width = round(float(np.quantile(distances, 1 - COVERED)), 3)
    return [round(0.5 - width, 3), round(0.5 + width, 3)]


def _others(
    labelled: Sequence[Example],
    examples: Sequence[Example],
    scores: Mapping[tuple[str, str], float],
) -> dict[str, float]:
    """How much weight an answer's own score has, and how much that of the other models' answers."""
    probabilities = {key: 1 / (1 + float(np.exp(-score))) for key, score in scores.items()}
    beside = others_of(examples, probabilities)
    with_others = [e for e in labelled if beside[key_of(e)]]
    if not with_others:
        return dict(UNCALIBRATED["others"])
    table = [[log_odds(probabilities[key_of(e)]), fmean(beside[key_of(e)])] for e in with_others]
    fitted = LogisticRegression(C=1e3).fit(table, [bool(e.answers) for e in with_others])
    values = (fitted.intercept_[0], *fitted.coef_[0])
    return {n: round(float(v), 4) for n, v in zip(Others.__slots__, values, strict=True)}


def others_of(
    examples: Sequence[Example], probabilities: Mapping[tuple[str, str], float]
) -> dict[tuple[str, str], list[float]]:
    """For each answer, the probabilities of the other models' answers to its record."""
    by_record: dict[str, dict[str, float]] = defaultdict(dict)
    for example in examples:
        by_record[example.record_id][example.model] = probabilities[key_of(example)]
    return {
        (record_id, model): [p for other, p in models.items() if other != model]
        for record_id, models in by_record.items()
        for model in models
    }


def key_of(example: Example) -> tuple[str, str]:
    return example.record_id, example.model
