import random

import pytest

from pipeline.results.pages.charts import charts
from pipeline.results.pages.overview import Overview, Usage

ODD = "<>&\"'%\\`{}[]\u2028\u2029\ufffe\uffff\u0301\u200d\U0001f469\U000e0001\x00\x01\x1b\ufdd0"


def overview(**fields) -> Overview:
    return Overview("run", answers=1, **fields)


@pytest.mark.parametrize("seed", range(20))
def test_no_name_of_a_question_crashes_the_renderer_or_becomes_markup(seed):
    rng = random.Random(seed)
    names = {"".join(rng.choices(ODD + "<script>", k=rng.randrange(1, 60))) for _ in range(10)}
    names |= {"</svg><script>alert(1)</script>"}
    data = overview()
    data.failures.update((name, "empty") for name in names)
    (chart,) = charts(data, 399)
    assert "<script" not in chart.svg
    assert len(chart.rows) == len(names)


def test_time_charts_cover_short_and_long_runs():
    for length in (59, 3_600, 40_000, 400_000):
        data = overview()
        for second in (0, length // 2, length - 1):
            data.usage[1_700_000_000 + second].add(Usage(1, 10, 5, 2))
        rate, tokens, cached = (
            next(c for c in charts(data, 399) if c.name == name)
            for name in ("rate", "tokens", "cached")
        )
        assert sum(n for _, n in rate.rows) == 3
        assert sum(n for _, kind, n in tokens.rows if kind == "prefilled") == 15
        assert all(share == 0.5 for _, share in cached.rows)


def test_a_run_that_is_over_at_once_draws_nothing_over_time():
    data = overview()
    data.usage[1_700_000_000].add(Usage(3, 30, 15, 6))
    assert {chart.name for chart in charts(data, 399)}.isdisjoint({"rate", "tokens", "cached"})


def test_charts_without_data_are_left_out():
    assert charts(Overview("run"), 399) == []
    assert charts(overview(), 399) == []
