"""The figures of an agreement for programs."""

from collections.abc import Callable, Sequence
from typing import Any

from pipeline.results.agreement.conversion import MISSING, WORDS, described
from pipeline.results.agreement.measures import LEVEL, RESAMPLES, Agreed
from pipeline.results.agreement.summary import Agreement, Majority, OfRaters


def as_document(agreement: Agreement) -> dict[str, Any]:
    """The figures for `--json`."""
    ratings = agreement.ratings
    names = agreement.questions
    return {
        "conversion": {"name": ratings.conversion, "means": described(ratings.conversion)},
        "records": len(ratings.record.names),
        "answers": ratings.rows.num_rows,
        "papers": len(ratings.paper.names),
        "interval": {"per_cent": LEVEL, "resamples": RESAMPLES, "seed": agreement.seed},
        "unconverted": ratings.unconverted,
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
        "pairs": [_of_raters(of, names, _pair) for of in agreement.pairs],
        "fleiss": [_of_raters(of, names, _group) for of in agreement.groups],
        "majority": {"of": agreement.majority.of, **majority_counts(agreement.majority)},
    }


def majority_counts(majority: Majority) -> dict[str, int]:
    """On how many records most say what; `missing`: nobody says anything."""
    said = {word: int((majority.codes == code).sum()) for code, word in WORDS.items()}
    return {**said, "missing": int((majority.codes == MISSING).sum())}


def _of_raters(
    of: OfRaters, names: Sequence[str], described: Callable[[Agreed], dict[str, Any]]
) -> dict[str, Any]:
    return {
        "raters": [str(rater) for rater in of.raters],
        **described(of.whole),
        "questions": [
            {"question": name, **described(figures)}
            for name, figures in zip(names, of.questions, strict=True)
        ],
    }


def _pair(agreed: Agreed) -> dict[str, Any]:
    names = ("no_no", "no_yes", "yes_no", "yes_yes")
    counts = dict(zip(names, agreed.counts, strict=True))
    return {**_figures(agreed, "agreement"), "counts": counts}


def _group(agreed: Agreed) -> dict[str, Any]:
    return {**_figures(agreed, "unanimous"), "raters_who_say_yes": list(agreed.counts)}


def _figures(agreed: Agreed, same: str) -> dict[str, Any]:
    return {
        "n": agreed.n,
        "kappa": agreed.kappa._asdict(),
        same: agreed.agreement._asdict(),
        "yes_share": agreed.yes_share,
    }
