"""Charts of a night as inline SVG, each with the numbers that it is drawn from.

Vega-Lite draws them when the page is written; the page's style sheet gives the colours, so that
they follow light and dark.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

import vl_convert

from pipeline.core.records import Status
from pipeline.core.text import visible
from pipeline.results.pages.matrix import Matrix, Spent

MOST_BARS = 20
MOST_BINS = 60
PIECES = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)
"""Seconds that a bar of time may stand for; beyond them as many as it takes."""

MOST_TICKS, MOST_LETTERS = 6, 24

WIDTH, HEIGHT = 380, 190

_ROLES = re.compile(r' (?:role|aria-[a-z]+)="[^"]*"')
"""To a screen reader a chart is one picture, and its numbers a table; pieces would only confuse."""

_CONFIG = {
    "background": None,
    "font": "sans-serif",
    "view": {"stroke": None},
    "axis": {
        "domainColor": "var(--line)",
        "tickColor": "var(--line)",
        "gridColor": "var(--line)",
        "labelColor": "var(--soft)",
        "titleColor": "var(--soft)",
        "titleFontWeight": "normal",
        "labelLimit": 0,
    },
    "legend": {"labelColor": "var(--soft)", "title": None, "orient": "top"},
}
_NUMBER = {"type": "quantitative"}
_STATUS = {"domain": ["answered", "failed"], "range": ["var(--answered)", "var(--failed)"]}
_TOKENS = {
    "domain": ["cached", "prefilled", "generated"],
    "range": ["var(--cached)", "var(--prefilled)", "var(--generated)"],
}


class Chart(NamedTuple):
    """A drawing, and its numbers as a table."""

    name: str
    title: str
    svg: str
    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]


def charts(matrix: Matrix, max_words: int) -> list[Chart]:
    """The charts that have something to show."""
    if not matrix.answers:
        return []
    drawn = [_words(matrix.words, max_words), _failures(matrix.failures)]
    if matrix.spent:
        night = _in_pieces(matrix.spent)
        drawn += [_attempts(matrix.attempts), _rate(night)]
        if any(b.spent.prompt_tokens + b.spent.completion_tokens for b in night.bins):
            drawn += [_tokens(night), _cached(night)]
    return [chart for chart in drawn if chart.rows]


def _words(words: Mapping[tuple[Status, int], int], limit: int) -> Chart:
    width = max(limit // 20, 1)
    last = 2 * limit // width * width
    bins: Counter[tuple[int, str]] = Counter()
    for (status, count), answers in words.items():
        bins[min(count // width * width, last), status] += answers
    rows = [(start, status, n) for (start, status), n in sorted(bins.items())]
    bars = {
        "mark": "bar",
        "encoding": {
            "x": {"field": "from", "type": "quantitative", "bin": "binned", "title": "words"},
            "x2": {"field": "to"},
            "y": _count(rows),
            "color": {"field": "status", "type": "nominal", "scale": _STATUS},
        },
    }
    rule = {
        "mark": {"type": "rule", "strokeDash": [4, 3], "color": "var(--ink)"},
        "encoding": {"x": {"datum": limit}},
    }
    values = [{"from": a, "to": a + width, "status": s, "answers": n} for a, s, n in rows]
    spec = {"layer": [bars, rule]}
    return Chart(
        "words",
        f"Words per answer, against the limit of {limit}",
        _svg(spec, values),
        ("words from", "status", "answers"),
        rows,
    )


def _failures(failures: Mapping[tuple[str, str], int]) -> Chart:
    """Failed answers by question and check; the worst questions."""
    by_question: Counter[str] = Counter()
    for (question, _), count in failures.items():
        by_question[question] += count
    worst = [question for question, _ in by_question.most_common(MOST_BARS)]
    rows = [
        (_label(question), check, count)
        for question in worst
        for (asked, check), count in sorted(failures.items())
        if asked == question
    ]
    spec = {
        "mark": "bar",
        "encoding": {
            "y": {"field": "question", "type": "nominal", "sort": "-x", "title": None},
            "x": _count(rows),
            "color": {"field": "check", "type": "nominal", "scale": {"range": _HUES}},
        },
        "height": {"step": 14},
    }
    values = [{"question": q, "check": c, "answers": n} for q, c, n in rows]
    columns = ("question", "check", "answers")
    return Chart("failures", "Failures by question", _svg(spec, values), columns, rows)


def _attempts(attempts: Mapping[int, int]) -> Chart:
    rows = sorted(attempts.items())
    spec = {
        "mark": {"type": "bar", "color": "var(--answered)"},
        "encoding": {
            "x": {"field": "attempts", "type": "ordinal", "axis": {"labelAngle": 0}},
            "y": _count(rows),
        },
        "width": {"step": 48},
    }
    values = [{"attempts": a, "answers": n} for a, n in rows]
    return Chart(
        "attempts", "Attempts per answer", _svg(spec, values), ("attempts", "answers"), rows
    )


class Bin(NamedTuple):
    """What was stored in a piece of the night; `start` in seconds since the first answer."""

    start: int
    at: datetime
    spent: Spent


@dataclass(frozen=True, slots=True)
class Night:
    """The night in pieces of equal length, `seconds` each."""

    seconds: int
    bins: tuple[Bin, ...]

    @property
    def unit(self) -> tuple[str, int]:
        """What its charts count time in, and how many seconds that is."""
        span = self.bins[-1].start + self.seconds
        return ("hours", 3600) if span > 7200 else ("minutes", 60) if span > 120 else ("seconds", 1)


def _in_pieces(spent: Mapping[int, Spent]) -> Night:
    first = min(spent)
    span = max(spent) - first + 1
    seconds = next((w for w in PIECES if span <= w * MOST_BINS), -(-span // MOST_BINS))
    pieces: dict[int, Spent] = {}
    for second in sorted(spent):
        pieces.setdefault((second - first) // seconds * seconds, Spent()).add(spent[second])
    bins = (Bin(s, datetime.fromtimestamp(first + s, UTC), held) for s, held in pieces.items())
    return Night(seconds, tuple(bins))


def _rate(night: Night) -> Chart:
    rows = [(_clock(b.at), b.spent.records) for b in night.bins]
    values = [_bar(night, b, rate=b.spent.records / night.seconds) for b in night.bins]
    spec = {
        "mark": {"type": "bar", "color": "var(--answered)"},
        "encoding": {
            **_time(night),
            "y": {**_NUMBER, "field": "rate", "title": "answers a second"},
        },
    }
    columns = ("UTC", f"answers in {night.seconds} s")
    return Chart("rate", "Answers stored over the night", _svg(spec, values), columns, rows)


def _tokens(night: Night) -> Chart:
    held = [
        (b, kind, tokens)
        for b in night.bins
        for kind, tokens in (
            ("cached", b.spent.cached_tokens),
            ("prefilled", b.spent.prompt_tokens - b.spent.cached_tokens),
            ("generated", b.spent.completion_tokens),
        )
    ]
    values = [_bar(night, b, kind=kind, rate=tokens / night.seconds) for b, kind, tokens in held]
    spec = {
        "mark": "bar",
        "encoding": {
            **_time(night),
            "y": {**_NUMBER, "field": "rate", "title": "tokens a second"},
            "color": {"field": "kind", "type": "nominal", "scale": _TOKENS},
        },
    }
    rows = [(_clock(b.at), kind, tokens) for b, kind, tokens in held]
    columns = ("UTC", "tokens", f"in {night.seconds} s")
    return Chart("tokens", "Tokens over the night", _svg(spec, values), columns, rows)


def _cached(night: Night) -> Chart:
    held = [
        (b, round(b.spent.cached_tokens / b.spent.prompt_tokens, 4))
        for b in night.bins
        if b.spent.prompt_tokens
    ]
    values = [_bar(night, b, share=share) for b, share in held]
    spec = {
        "mark": {"type": "bar", "color": "var(--cached)"},
        "encoding": {
            **_time(night),
            "y": {
                "field": "share",
                "type": "quantitative",
                "scale": {"domain": [0, 1]},
                "axis": {"format": "%"},
                "title": "of prompt tokens",
            },
        },
    }
    rows = [(_clock(b.at), share) for b, share in held]
    title = "Prompt tokens from the prefix cache"
    return Chart("cached", title, _svg(spec, values), ("UTC", "share"), rows)


def _time(night: Night) -> dict[str, Any]:
    title = f"{night.unit[0]} since {_clock(night.bins[0].at)} UTC"
    return {
        "x": {"field": "from", "type": "quantitative", "bin": "binned", "title": title},
        "x2": {"field": "to"},
    }


def _bar(night: Night, piece: Bin, **values: Any) -> dict[str, Any]:
    _, unit = night.unit
    return {"from": piece.start / unit, "to": (piece.start + night.seconds) / unit, **values}


def _clock(at: datetime) -> str:
    return f"{at:%H:%M:%S}"


def _label(question: str) -> str:
    """A question's name as the drawing can take it.

    Signs that XML does not know would end this process in the middle of the drawing, and so Vega
    must not shorten names: it may cut a letter in two.
    """
    shown = visible(question)
    short = shown if len(shown) <= MOST_LETTERS else shown[: MOST_LETTERS - 1] + "…"
    return short or "no question"


def _count(rows: Sequence[tuple[Any, ...]]) -> dict[str, Any]:
    """An axis of answers, which come whole; they are the last cell of a row."""
    ticks = min(max((row[-1] for row in rows), default=1), MOST_TICKS)
    return {"field": "answers", "type": "quantitative", "axis": {"tickCount": ticks}}


_HUES = [f"var(--hue-{number})" for number in range(8)]


def _svg(spec: Mapping[str, Any], values: list[dict[str, Any]]) -> str:
    """SVG of a Vega-Lite specification without its data; it loads nothing."""
    whole = {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "width": WIDTH,
        "height": HEIGHT,
        "config": _CONFIG,
        "data": {"values": values},
        **spec,
    }
    drawn: str = vl_convert.vegalite_to_svg(whole, vl_version="5.21", allowed_base_urls=[])
    return _ROLES.sub("", drawn)
