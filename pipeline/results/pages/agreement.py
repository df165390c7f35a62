"""The page's section on agreement: raters, a heat map of κ by pair, and κ by question.

A store with one rater has none, and is not read for it: its parts are asked for names alone.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pyarrow.compute as pc

from pipeline.core.errors import ConfigError
from pipeline.core.filesystem import Location
from pipeline.core.text import plural, quote
from pipeline.results.agreement.conversion import described
from pipeline.results.agreement.document import majority_counts
from pipeline.results.agreement.measures import LEVEL, RESAMPLES, Agreed
from pipeline.results.agreement.raters import Rater, model_names
from pipeline.results.agreement.ratings import read_ratings
from pipeline.results.agreement.summary import Agreement, OfRaters, agree
from pipeline.results.pages.charts import WIDTH, Chart, label, svg
from pipeline.store.corrections import CORRECTIONS_FOLDER
from pipeline.store.parts import read_parts, with_parts
from pipeline.store.schema import ANSWERS_FOLDER

MAX_RATERS, MAX_QUESTIONS = 24, 40
"""Of the charts; the tables below them have all."""

COLUMNS = ("yes", "no", "unsure", "missing", "share of yes")

_UPRIGHT = {"labelAngle": 0}
_JUDGES = "judgements.list.element.rater"


class Section(NamedTuple):
    lines: list[str]
    columns: Sequence[str]
    raters: list[tuple[str, ...]]
    charts: list[Chart]


def agreement_section(store: Location) -> Section | None:
    """None for a store in which fewer than two raters say anything."""
    if not _may_have_two(store):
        return None
    try:
        agreement = agree(read_ratings(store))
    except ConfigError:
        return None
    charts = [_heat_map(agreement)] if agreement.pairs else []
    if agreement.questions and agreement.pairs:
        charts.append(_by_question(agreement, [*agreement.groups, *agreement.pairs][0]))
    return Section(_lines(agreement), COLUMNS, _raters(agreement), charts)


def _may_have_two(store: Location) -> bool:
    """Whether the store has corrections, judgements, or the answers of two models."""
    if store.join(CORRECTIONS_FOLDER).files():
        return True
    folder = store.join(ANSWERS_FOLDER)
    return with_parts(folder, lambda parts: _has_two(folder, parts))


def _has_two(folder: Location, parts: Sequence[str]) -> bool:
    models: set[str] = set()
    for rows in read_parts(folder.fs, parts, ("adapter", "model", "engine", _JUDGES)):
        models.update(pc.unique(model_names(rows)).to_pylist())
        judged = "judgements" in rows.column_names and pc.list_flatten(rows["judgements"])
        if len(models) > 1 or judged:
            return True
    return False


def _lines(agreement: Agreement) -> list[str]:
    ratings = agreement.ratings
    papers = plural(len(ratings.paper.names), "paper")
    said = majority_counts(agreement.majority).items()
    lines = [
        f"Whether answers give what their questions ask for, {described(ratings.conversion)}. In "
        f"brackets: {LEVEL}% intervals from {RESAMPLES:,} resamples of {papers}.",
        f"The majority of {agreement.majority.of} says "
        + ", ".join(f"{word} to {count:,}" for word, count in said if count and word != "missing")
        + ".",
    ]
    for group in agreement.groups:
        lines.append(
            f"All {len(group.raters)} {group.raters[0].kind}s, where none is missing: Fleiss’ "
            f"κ {group.whole.kappa!s}, unanimous {group.whole.agreement!s}, "
            f"n = {group.whole.n:,}."
        )
    if ratings.stale:
        lines.append(
            f"Left out: {plural(ratings.stale, 'correction')} of another text than today’s."
        )
    return lines


def _raters(agreement: Agreement) -> list[tuple[str, ...]]:
    return [
        (
            f"{number} {quote(of.rater.shown)}",
            *(f"{count:,}" for count in (*of.counts.values(), of.missing)),
            str(of.yes_share),
        )
        for number, of in enumerate(agreement.raters, 1)
    ]


def _heat_map(agreement: Agreement) -> Chart:
    """Raters by their numbers, since names that begin alike would share a row."""
    numbers = {of.rater: n for n, of in enumerate(agreement.raters[:MAX_RATERS], 1)}
    values = [
        {"one": _numbered(numbers, a), "other": str(numbers[b]), "κ": agreed.kappa.value}
        for pair in agreement.pairs
        for agreed in [pair.whole]
        if agreed.kappa.value is not None and numbers.keys() >= {*pair.raters}
        for a, b in (pair.raters, reversed(pair.raters))
    ]
    rows_down = [_numbered(numbers, rater) for rater in numbers]
    across = [str(number) for number in numbers.values()]
    axes = {
        "y": {"field": "one", "type": "nominal", "sort": rows_down, "title": None},
        "x": {"field": "other", "type": "nominal", "sort": across, "title": None, "axis": _UPRIGHT},
    }
    shade = {"domain": [0, 1], "range": [0.05, 0.6], "clamp": True}
    squares = {
        "mark": {"type": "rect", "color": "var(--answered)"},
        "encoding": {
            "opacity": {"field": "κ", "type": "quantitative", "scale": shade, "legend": None}
        },
    }
    texts = {
        "mark": {"type": "text", "color": "var(--ink)"},
        "encoding": {"text": {"field": "κ", "type": "quantitative", "format": ".2f"}},
    }
    spec = {
        "layer": [squares, texts],
        "encoding": axes,
        "width": max(WIDTH, 44 * len(across)),
        "height": {"step": 28},
    }
    rows = [
        (*(quote(rater.shown) for rater in pair.raters), *_cells(pair.whole))
        for pair in agreement.pairs
    ]
    columns = ("rater", "and rater", "κ", "agreement", "n")
    return Chart("agreement", "Cohen’s κ of each pair", svg(spec, values), columns, rows)


def _by_question(agreement: Agreement, of: OfRaters) -> Chart:
    questions = list(zip(agreement.questions, of.questions, strict=True))
    values = [
        {"question": label(name), "κ": agreed.kappa.value, "low": low, "high": high}
        for name, agreed in questions[:MAX_QUESTIONS]
        for value, low, high in [agreed.kappa]
        if value is not None
    ]
    y = {"field": "question", "type": "nominal", "sort": None, "title": None}
    spec = {
        "layer": [
            {
                "mark": {"type": "rule", "color": "var(--soft)"},
                "encoding": {
                    "x": {"field": "low", "type": "quantitative", "title": "κ"},
                    "x2": {"field": "high"},
                },
            },
            {
                "mark": {"type": "point", "filled": True, "color": "var(--answered)"},
                "encoding": {"x": {"field": "κ", "type": "quantitative"}},
            },
        ],
        "encoding": {"y": y},
        "height": {"step": 14},
    }
    who = (
        f"all {len(of.raters)} {of.raters[0].kind}s"
        if len(of.raters) > 2
        else " × ".join(quote(rater.shown) for rater in of.raters)
    )
    return Chart(
        "agreement-questions",
        f"κ by question, {who}",
        svg(spec, values),
        ("question", "κ", "agreement", "n"),
        [(quote(name), *_cells(agreed)) for name, agreed in questions],
    )


def _numbered(numbers: Mapping[Rater, int], rater: Rater) -> str:
    return label(f"{numbers[rater]} {rater.shown}")


def _cells(agreed: Agreed) -> tuple[str, str, str]:
    return str(agreed.kappa), str(agreed.agreement), f"{agreed.n:,}"
