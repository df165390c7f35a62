import random

import pytest

from pipeline.results.pages.charts import charts
from pipeline.results.pages.matrix import Matrix, Spent

SIGNS = "<>&\"'%\\`{}[]\u2028\u2029\ufffe\uffff\u0301\u200d\U0001f469\U000e0001\x00\x01\x1b\ufdd0"


def matrix(**fields) -> Matrix:
    return Matrix("run", answers=1, **fields)


@pytest.mark.parametrize("seed", range(20))
def test_no_name_of_a_question_stops_or_enters_a_drawing(seed):
    lot = random.Random(seed)
    names = {"".join(lot.choices(SIGNS + "<script>", k=lot.randrange(1, 60))) for _ in range(10)}
    names |= {"</svg><script>alert(1)</script>"}
    found = matrix()
    found.failures.update((name, "empty") for name in names)
    (chart,) = charts(found, 399)
    assert "<script" not in chart.svg
    assert len(chart.rows) == len(names)


def test_a_short_and_a_long_night_have_bars_that_cover_them():
    for length in (1, 59, 3_600, 40_000, 400_000):
        found = matrix()
        for second in (0, length // 2, length - 1):
            found.spent[1_700_000_000 + second].add(Spent(1, 10, 5, 2))
        rate, tokens, cached = (
            next(c for c in charts(found, 399) if c.name == name)
            for name in ("rate", "tokens", "cached")
        )
        assert sum(n for _, n in rate.rows) == 3
        assert sum(n for _, kind, n in tokens.rows if kind == "prefilled") == 15
        assert all(share == 0.5 for _, share in cached.rows)


def test_what_there_is_nothing_of_is_not_drawn():
    assert charts(Matrix("run"), 399) == []
    assert charts(matrix(), 399) == []
