"""What stands out in a run: each alert leads to the rows that it is about."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pipeline.core.text import plural, quote
from pipeline.results.pages.overview import AnswerCounts, Overview
from pipeline.results.pages.summary import Run
from pipeline.results.papers import paper_name

FEWEST_FAILED = 3
TIMES_MORE = 2
"""A question fails far more often than others if the least that its rate may be, by Wilson's
interval, is this many times the others' rate."""

FEWEST_OF_PAPER = 3
"""A paper with fewer answers may abstain in all of them by chance."""

LIMIT_SHARE = 0.02
"""Share of a model's answers that end at `max_tokens`, from which on it is worth a look."""

CACHE_SHORTFALL = 0.8
"""Of the share of prompt tokens that the plan expected from the prefix cache."""

MOST_NAMED = 3


class Alert(NamedTuple):
    """What is to be looked at, and how the page shows it: by a filter of its rows, or elsewhere."""

    text: str
    filter: Mapping[str, Any] | None = None
    anchor: str = ""


def alerts(run: Run, earlier: Sequence[Run], overview: Overview) -> list[Alert]:
    """The alerts about a run, after `earlier` ones, and about the newest answers of its store."""
    return [
        *_failing_questions(overview.by_question),
        *_abstaining_papers(overview),
        *_at_limit(overview.by_model),
        *_new_rejects(run, earlier),
        *_cold_cache(run),
    ]


def _failing_questions(by_question: Mapping[str, AnswerCounts]) -> Iterator[Alert]:
    failed = sum(counts.failed for counts in by_question.values())
    answers = sum(counts.answers for counts in by_question.values())
    for name, counts in sorted(by_question.items(), key=lambda item: -item[1].failed):
        others = answers - counts.answers
        if counts.failed < FEWEST_FAILED or not others:
            continue
        rate = (failed - counts.failed) / others
        if _least_rate(counts) > TIMES_MORE * rate:
            of_all = f"{counts.failed:,} of {plural(counts.answers, 'answer')} failed"
            share = counts.failed / counts.answers
            said = f"{of_all} ({share:.0%}), {rate:.1%} of those to other questions"
            name_ = quote(name) or "no question"
            yield Alert(f"{name_}: {said}", {"question": name, "state": "failed"})


def _least_rate(counts: AnswerCounts) -> float:
    """The least that the rate of failures may be."""
    from scipy.stats import binomtest  # a slow import, which no run is to wait for

    return float(binomtest(counts.failed, counts.answers).proportion_ci(method="wilson").low)


def _abstaining_papers(overview: Overview) -> Iterator[Alert]:
    papers = [p for p, answers in overview.abstaining.items() if answers >= FEWEST_OF_PAPER]
    if papers:
        named = ", ".join(quote(paper_name(paper)) for paper in papers[:MOST_NAMED])
        more = f" and {len(papers) - MOST_NAMED:,} more" if len(papers) > MOST_NAMED else ""
        said = "abstains" if len(papers) == 1 else "abstain"
        yield Alert(
            f"{plural(len(papers), 'paper')} {said} in every answer: {named}{more}",
            {"abstaining": True},
        )


def _at_limit(by_model: Mapping[str, AnswerCounts]) -> Iterator[Alert]:
    for model, counts in by_model.items():
        share = counts.at_limit / counts.answers
        if share >= LIMIT_SHARE:
            of_all = f"{plural(counts.at_limit, 'answer')} ({share:.0%})"
            said = f"{quote(model) or 'the engine'}: {of_all} ended at sampling.max_tokens"
            yield Alert(said, {"finish": "length", "model": model})


def _new_rejects(run: Run, earlier: Sequence[Run]) -> Iterator[Alert]:
    """Only if there were runs before: else every reason is new."""
    known = {reason for other in earlier for reason in other.get("rejects") or {}}
    for reason, count in (run.get("rejects") or {}).items():
        if earlier and reason not in known:
            said = (
                f"{plural(count, 'record')} rejected as {reason.replace('_', ' ')}, as none before"
            )
            yield Alert(said, anchor="rejects-title")


def _cold_cache(run: Run) -> Iterator[Alert]:
    shares: Mapping[str, float | None] = run.get("prefix_cache") or {}
    realised, predicted = shares.get("realised_share"), shares.get("predicted_share")
    if realised is not None and predicted and realised < CACHE_SHORTFALL * predicted:
        yield Alert(
            f"{realised:.0%} of the prompt tokens came from the prefix cache, {predicted:.0%} were "
            "expected",
            anchor="figures-title",
        )
