"""κ and its intervals, against κ by its definition."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.results.agreement.conversion import MISSING, NO, UNSURE, YES
from pipeline.results.agreement.measures import (
    Agreed,
    Figure,
    kappa_of_counts,
    kappa_of_tables,
    of_several,
    of_two,
    yes_shares,
)
from pipeline.results.agreement.ratings import Cells
from tests.support.kappas import cohen, fleiss

codes = st.sampled_from([MISSING, NO, YES, UNSURE])
DECIDED = (NO, YES)


def cells(*raters, papers=None, questions=None) -> Cells:
    size = len(raters[0])
    return Cells(
        [np.array(said, np.int8) for said in raters],
        np.array(range(size) if papers is None else papers, np.int64),
        np.array([0] * size if questions is None else questions, np.int64),
    )


def as_number(exact) -> object:
    return None if exact is None else pytest.approx(float(exact), abs=1e-12)


@settings(deadline=None)  # the first call imports the library
@given(st.lists(st.tuples(codes, codes, st.integers(0, 2)), max_size=40))
def test_two_raters_agree_as_cohen_defines_it_on_what_both_decide(said):
    one, other, questions = zip(*said, strict=True) if said else ((), (), ())
    found = of_two(cells(one, other, questions=questions), 3, seed=0)
    for number, agreed in enumerate(found):
        both = [(a, b) for a, b, q in said if {a, b} <= {*DECIDED} and number in (0, q + 1)]
        assert agreed.n == len(both)
        assert agreed.kappa.value == as_number(cohen(both))
        same = [a == b for a, b in both]
        assert agreed.agreement.value == (pytest.approx(np.mean(same)) if same else None)
        yes = [word == YES for pair in both for word in pair]
        assert agreed.yes_share == (pytest.approx(np.mean(yes)) if yes else None)
        assert agreed.counts == tuple(both.count(pair) for pair in [(0, 0), (0, 1), (1, 0), (1, 1)])


@settings(deadline=None)  # the first call imports the library
@given(st.lists(st.tuples(codes, codes, codes, codes, st.integers(0, 2)), max_size=40))
def test_several_raters_agree_as_fleiss_defines_it_on_complete_cells(said):
    *raters, questions = zip(*said, strict=True) if said else [()] * 5
    found = of_several(cells(*raters, questions=questions), 3, seed=0)
    for number, agreed in enumerate(found):
        whole = [c for *c, q in said if {*c} <= {*DECIDED} and number in (0, q + 1)]
        assert agreed.n == len(whole)
        assert agreed.kappa.value == as_number(fleiss(whole))
        unanimous = [len({*c}) == 1 for c in whole]
        assert agreed.agreement.value == (pytest.approx(np.mean(unanimous)) if whole else None)
        assert agreed.counts == tuple(sum(sum(c) == yes for c in whole) for yes in range(5))


@settings(deadline=None)
@given(st.lists(st.integers(0, 30), min_size=4, max_size=4))
def test_the_formulas_for_arrays_are_the_librarys(counts):
    table = np.array(counts, np.float64)
    one, other = [0, 0, 1, 1], [0, 1, 0, 1]
    pairs = [p for p, n in zip(zip(one, other, strict=True), counts, strict=True) for _ in range(n)]
    assert Figure(*[_number(kappa_of_tables(table))]).value == as_number(cohen(pairs))
    things = [[1] * yes + [0] * (3 - yes) for yes, n in enumerate(counts) for _ in range(n)]
    assert _number(kappa_of_counts(table)) == as_number(fleiss(things))


def _number(value) -> float | None:
    return float(value) if np.isfinite(value) else None


def test_where_all_say_the_same_kappa_is_not_defined_and_agreement_is():
    (agreed,) = of_two(cells([YES] * 5, [YES] * 5), 1, seed=0)
    assert (agreed.kappa, agreed.agreement.value) == (Figure(None), 1.0)


def test_of_nothing_there_is_no_figure():
    (agreed,) = of_two(cells([YES, MISSING], [UNSURE, NO]), 1, seed=0)
    assert agreed == Agreed(0, Figure(None), Figure(None), None, (0, 0, 0, 0))
    assert yes_shares(cells([MISSING]), 1, seed=0) == [Figure(None)]


def test_one_paper_has_no_interval():
    (agreed,) = of_two(cells([YES, NO, NO], [YES, NO, YES], papers=[4, 4, 4]), 1, seed=0)
    assert agreed.kappa.value is not None
    assert (agreed.kappa.low, agreed.kappa.high) == (None, None)


def noisy(papers: int, of_each: int, seed: int = 7) -> Cells:
    """Two raters who differ on whole papers: on every fifth one they say the opposite."""
    drawn = random.Random(seed)
    one = [drawn.choice(DECIDED) for _ in range(papers * of_each)]
    paper = [i // of_each for i in range(papers * of_each)]
    other = [1 - a if p % 5 == 0 else a for a, p in zip(one, paper, strict=True)]
    return cells(one, other, papers=paper)


def test_an_interval_holds_its_figure_and_repeats_itself_with_its_seed():
    said = noisy(40, 10)
    (first,), (again,), (other,) = (of_two(said, 1, seed) for seed in (1, 1, 2))
    assert first == again != other
    for figure in (first.kappa, first.agreement):
        assert figure.low < figure.value < figure.high


def test_an_interval_is_as_wide_as_the_number_of_papers_makes_it_not_that_of_answers():
    """The share of 40 papers, one in five: its standard error is √(0.2 · 0.8 / 40)."""
    for of_each in (1, 20):
        (agreed,) = of_two(noisy(40, of_each), 1, seed=0)
        width = agreed.agreement.high - agreed.agreement.low
        assert width == pytest.approx(2 * 1.96 * (0.2 * 0.8 / 40) ** 0.5, rel=0.15)


def test_an_interval_is_that_of_a_plain_bootstrap():
    said = noisy(30, 4)
    (agreed,) = of_two(said, 1, seed=0)
    drawn, by_paper = random.Random(3), {}
    for a, b, paper in zip(*said.codes, said.paper, strict=True):
        by_paper.setdefault(paper, []).append((int(a), int(b)))
    kappas = sorted(
        float(cohen([pair for p in drawn.choices([*by_paper], k=30) for pair in by_paper[p]]))
        for _ in range(1000)
    )
    assert agreed.kappa.low == pytest.approx(kappas[25], abs=0.04)
    assert agreed.kappa.high == pytest.approx(kappas[974], abs=0.04)
