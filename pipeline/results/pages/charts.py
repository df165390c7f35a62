"""Charts of a run as inline SVG, each with a table of its numbers.

Vega-Lite draws them when the page is written. Colours are variables of the page's style sheet, so
that charts follow its light or dark scheme.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from pipeline.core.records import Status
from pipeline.core.text import visible
from pipeline.results.pages.overview import Overview, Usage

MAX_QUESTIONS = 20
MAX_BINS = 60
BIN_SECONDS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)
"""Preferred lengths of a time bin. Longer runs are divided into `MAX_BINS` bins."""

FEWEST_BINS = 3
"""Of a chart over time: a run that is over at once draws a single block."""

MAX_TICKS, MAX_LABEL_CHARACTERS = 6, 24

WIDTH, HEIGHT = 320, 170
"""A page scales a drawing to its card, from 0.8 on a phone to 1.5; labels have 11 pixels."""

_ARIA = re.compile(r' (?:role|aria-[a-z]+)="[^"]*"')
"""Vega's ARIA attributes. To screen readers a chart is one image with a table of its numbers."""

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
        "labelFontSize": 11,
        "titleFontSize": 11,
        "labelLimit": 0,
    },
    "legend": {"labelFontSize": 11, "labelColor": "var(--soft)", "title": None, "orient": "top"},
}
_NUMBER = {"type": "quantitative"}
_STATUS = {"domain": ["answered", "failed"], "range": ["var(--answered)", "var(--failed)"]}
_TOKENS = {
    "domain": ["cached", "prefilled", "generated"],
    "range": ["var(--cached)", "var(--prefilled)", "var(--generated)"],
}


class Chart(NamedTuple):
    """A drawing, with its numbers as rows of a table."""

    name: str
    title: str
    svg: str
    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]


def charts(overview: Overview, max_words: int) -> list[Chart]:
    """The charts for which the overview has data."""
    if not overview.answers:
        return []
    all_charts = [_words(overview.words, max_words), _failures(overview.failures)]
    if overview.usage:
        timeline = _timeline(overview.usage)
        all_charts.append(_attempts(overview.attempts))
        if len(timeline.bins) < FEWEST_BINS:
            return [chart for chart in all_charts if chart.rows]
        all_charts.append(_rate(timeline))
        if any(b.usage.prompt_tokens + b.usage.completion_tokens for b in timeline.bins):
            all_charts += [_tokens(timeline), _cached(timeline)]
    return [chart for chart in all_charts if chart.rows]


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
            "y": _answers_axis(rows),
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
        svg(spec, values),
        ("words from", "status", "answers"),
        rows,
    )


def _failures(failures: Mapping[tuple[str, str], int]) -> Chart:
    """Failed answers by question and check, for the questions with the most failures."""
    by_question: Counter[str] = Counter()
    for (question, _), count in failures.items():
        by_question[question] += count
    worst = [question for question, _ in by_question.most_common(MAX_QUESTIONS)]
    rows = [
        (label(question), check, count)
        for question in worst
        for (name, check), count in sorted(failures.items())
        if name == question
    ]
    spec = {
        "mark": "bar",
        "encoding": {
            "y": {"field": "question", "type": "nominal", "sort": "-x", "title": None},
            "x": _answers_axis(rows),
            "color": {"field": "check", "type": "nominal", "scale": {"range": _HUES}},
        },
        "height": {"step": 14},
    }
    values = [{"question": q, "check": c, "answers": n} for q, c, n in rows]
    columns = ("question", "check", "answers")
    return Chart("failures", "Failures by question", svg(spec, values), columns, rows)


def _attempts(attempts: Mapping[int, int]) -> Chart:
    """Nothing to compare where all answers took as many."""
    rows = sorted(attempts.items()) if len(attempts) > 1 else []
    spec = {
        "mark": {"type": "bar", "color": "var(--answered)"},
        "encoding": {
            "y": {"field": "attempts", "type": "ordinal"},
            "x": _answers_axis(rows),
        },
        "height": {"step": 24},
    }
    values = [{"attempts": a, "answers": n} for a, n in rows]
    return Chart(
        "attempts", "Attempts per answer", svg(spec, values), ("attempts", "answers"), rows
    )


class Bin(NamedTuple):
    """What was stored within a period; `start` is in seconds since the first answer."""

    start: int
    time: datetime
    usage: Usage


@dataclass(frozen=True, slots=True)
class Timeline:
    """What a run stored over time, in bins of `bin_seconds` each; empty bins are left out."""

    bin_seconds: int
    bins: tuple[Bin, ...]

    @property
    def unit(self) -> tuple[str, int]:
        """The unit of the time axis, and its seconds."""
        span = self.bins[-1].start + self.bin_seconds
        return ("hours", 3600) if span > 7200 else ("minutes", 60) if span > 120 else ("seconds", 1)


def _timeline(usage: Mapping[int, Usage]) -> Timeline:
    first = min(usage)
    span = max(usage) - first + 1
    seconds = next((s for s in BIN_SECONDS if span <= s * MAX_BINS), -(-span // MAX_BINS))
    by_start: dict[int, Usage] = {}
    for second in sorted(usage):
        by_start.setdefault((second - first) // seconds * seconds, Usage()).add(usage[second])
    bins = (Bin(s, datetime.fromtimestamp(first + s, UTC), u) for s, u in by_start.items())
    return Timeline(seconds, tuple(bins))


def _rate(timeline: Timeline) -> Chart:
    rows = [(_clock(b.time), b.usage.records) for b in timeline.bins]
    values = [_bar(timeline, b, rate=b.usage.records / timeline.bin_seconds) for b in timeline.bins]
    spec = {
        "mark": {"type": "bar", "color": "var(--answered)"},
        "encoding": {
            **_time_axis(timeline),
            "y": {**_NUMBER, "field": "rate", "title": "answers per second"},
        },
    }
    columns = ("UTC", f"answers in {timeline.bin_seconds} s")
    return Chart("rate", "Answers stored over time", svg(spec, values), columns, rows)


def _tokens(timeline: Timeline) -> Chart:
    counts = [
        (b, kind, tokens)
        for b in timeline.bins
        for kind, tokens in (
            ("cached", b.usage.cached_tokens),
            ("prefilled", b.usage.prompt_tokens - b.usage.cached_tokens),
            ("generated", b.usage.completion_tokens),
        )
    ]
    seconds = timeline.bin_seconds
    values = [_bar(timeline, b, kind=kind, rate=n / seconds) for b, kind, n in counts]
    spec = {
        "mark": "bar",
        "encoding": {
            **_time_axis(timeline),
            "y": {**_NUMBER, "field": "rate", "title": "tokens per second"},
            "color": {"field": "kind", "type": "nominal", "scale": _TOKENS},
        },
    }
    rows = [(_clock(b.time), kind, tokens) for b, kind, tokens in counts]
    columns = ("UTC", "tokens", f"in {seconds} s")
    return Chart("tokens", "Tokens over time", svg(spec, values), columns, rows)


def _cached(timeline: Timeline) -> Chart:
    shares = [
        (b, round(b.usage.cached_tokens / b.usage.prompt_tokens, 4))
        for b in timeline.bins
        if b.usage.prompt_tokens
    ]
    values = [_bar(timeline, b, share=share) for b, share in shares]
    spec = {
        "mark": {"type": "bar", "color": "var(--cached)"},
        "encoding": {
            **_time_axis(timeline),
            "y": {
                "field": "share",
                "type": "quantitative",
                "scale": {"domain": [0, 1]},
                "axis": {"format": "%"},
                "title": "of prompt tokens",
            },
        },
    }
    rows = [(_clock(b.time), share) for b, share in shares]
    title = "Prompt tokens from the prefix cache"
    return Chart("cached", title, svg(spec, values), ("UTC", "share"), rows)


def _time_axis(timeline: Timeline) -> dict[str, Any]:
    title = f"{timeline.unit[0]} since {_clock(timeline.bins[0].time)} UTC"
    return {
        "x": {"field": "from", "type": "quantitative", "bin": "binned", "title": title},
        "x2": {"field": "to"},
    }


def _bar(timeline: Timeline, bin_: Bin, **values: Any) -> dict[str, Any]:
    _, unit = timeline.unit
    return {"from": bin_.start / unit, "to": (bin_.start + timeline.bin_seconds) / unit, **values}


def _clock(time: datetime) -> str:
    return f"{time:%H:%M:%S}"


def label(name: str) -> str:
    """A name, as of a question, as an axis label.

    Characters that XML forbids crash the renderer, and so the process. For the same reason Vega
    must not shorten labels: it may split a surrogate pair.
    """
    shown = visible(name)
    if len(shown) > MAX_LABEL_CHARACTERS:
        shown = shown[: MAX_LABEL_CHARACTERS - 1] + "…"
    return shown or "no question"


def _answers_axis(rows: Sequence[tuple[Any, ...]]) -> dict[str, Any]:
    """An axis of answer counts, the last cell of each row, with ticks at whole numbers only."""
    ticks = min(max((row[-1] for row in rows), default=1), MAX_TICKS)
    return {"field": "answers", "type": "quantitative", "axis": {"tickCount": ticks}}


_HUES = [f"var(--hue-{number})" for number in range(8)]


def svg(spec: Mapping[str, Any], values: list[dict[str, Any]]) -> str:
    """SVG of a Vega-Lite specification and its data; Vega may not load anything else."""
    import vl_convert

    whole = {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "width": WIDTH,
        "height": HEIGHT,
        "config": _CONFIG,
        "data": {"values": values},
        **spec,
    }
    drawn: str = vl_convert.vegalite_to_svg(whole, vl_version="5.21", allowed_base_urls=[])
    return _ARIA.sub("", drawn)
