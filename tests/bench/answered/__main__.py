"""Measures by cross-validation and, with `--write`, makes the weights of the package anew."""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.answering.answers_question import WEIGHTS, as_file, packaged_model
from tests.bench.answered.examples import Example, of_corpus, of_store
from tests.bench.answered.figures import (
    SPLITS,
    Outcome,
    by_model,
    figures_of,
    held_out,
    intervals_of,
    outcomes_of,
)
from tests.bench.answered.training import fit
from tests.support.jobs import ROOT, packed_corpus

PACKAGED = ROOT / "pipeline" / "answering" / WEIGHTS

FEWEST_PAPERS = 6
"""With yes, and with no: of fewer, what is learned about some does not hold for the others."""

PUBLISHED = {
    "source": "judgements of fusion-jena/information-retrieval-using-multiple-LLM-and-RAG, "
    "published with arXiv 2411.09269",
    "licence": "Apache-2.0",
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.answered", description=__doc__)
    parser.add_argument(
        "--store", help="learn from the corrections of this store, not from the published corpus"
    )
    parser.add_argument("--source", help="where the judgements come from, for the file of weights")
    parser.add_argument("--licence", help="under which they may be used")
    parser.add_argument("--write", action="store_true", help=f"write {PACKAGED.name} anew")
    chosen = parser.parse_args()
    examples = of_store(chosen.store) if chosen.store else of_corpus(packed_corpus())
    if fault := too_few(examples):
        parser.error(fault)
    about = {"source": chosen.source or chosen.store, "licence": chosen.licence or "not stated"}
    if chosen.write:
        content = {
            **fit(examples),
            "about": about_of(examples, about if chosen.store else PUBLISHED),
        }
        PACKAGED.write_bytes(as_file(content))
        print(f"{PACKAGED}: {len(content['weights']):,} weights, {PACKAGED.stat().st_size:,} bytes")
    if chosen.store:  # which the weights of the package have not learned from
        print("\nby the weights of the package")
        print("\n".join(table(outcomes_of(packaged_model(), examples, examples))))
    for name, (by, folds) in SPLITS.items():
        if len({by(e) for e in examples}) == 1:
            continue  # nothing would be left to learn from
        outcomes = held_out(examples, by, folds)
        print(f"\n{name} held out")
        print("\n".join(table(outcomes)))


def too_few(examples: Sequence[Example]) -> str | None:
    """Why nothing can be learned from these judgements; None if something can."""
    yes, no = (len({e.paper for e in examples if e.answers is said}) for said in (True, False))
    if min(yes, no) >= FEWEST_PAPERS:
        return None
    return (
        f"yes about {yes} papers and no about {no} are too few to learn from: judge answers about "
        f"{FEWEST_PAPERS} papers and more each way"
    )


def about_of(examples: Sequence[Example], origin: Mapping[str, str]) -> dict[str, Any]:
    judged = [e for e in examples if e.answers is not None]
    return {
        **origin,
        "made_by": "tests/bench/answered",
        "judgements": len(judged),
        "yes": sum(bool(e.answers) for e in judged),
        "papers": len({e.paper for e in judged}),
        "questions": len({e.question for e in judged}),
        "models": sorted({e.model for e in judged}),
    }


def table(outcomes: Sequence[Outcome]) -> list[str]:
    """A row for all answers, with intervals, and one for each model."""
    rows = [_row("all", outcomes)]
    rows += [_row(model, of) for model, of in by_model(outcomes).items()]
    names = list(figures_of(outcomes))
    return [f"| | n | {' | '.join(names)} |", "|---|" + "---:|" * (len(names) + 1), *rows]


def _row(name: str, outcomes: Sequence[Outcome]) -> str:
    intervals = intervals_of(outcomes)
    cells = [
        f"{value:.3f} [{intervals[figure][0]:.3f}, {intervals[figure][1]:.3f}]"
        for figure, value in figures_of(outcomes).items()
    ]
    return f"| {name} | {len(outcomes):,} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
