"""Probabilities of choices, from what a model would have written at each step."""

from math import log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.engines.choice_probabilities import Candidate, Step, choice_probabilities


def step(written: str, **probabilities: float) -> Step:
    names = {"end": "", "space": " "}
    return written, [Candidate(names.get(n, n), log(p)) for n, p in probabilities.items()]


def test_the_first_token_tells_choices_apart():
    found = choice_probabilities(["yes", "no"], [step("yes", yes=0.6, no=0.2, maybe=0.2)])
    assert found == {"yes": 0.75, "no": 0.25}


def test_spellings_of_a_choice_count_together():
    found = choice_probabilities(["yes", "no"], [step("yes", yes=0.3, Yes=0.3, no=0.2)])
    assert found == {"yes": 0.75, "no": 0.25}


def test_choices_that_begin_alike_are_told_apart_where_they_differ():
    steps = [step("un", un=0.8, yes=0.2), step("clear", clear=0.75, known=0.25)]
    found = choice_probabilities(["unclear", "unknown", "yes"], steps)
    assert found == {"unclear": 0.6, "unknown": 0.2, "yes": 0.2}


def test_the_end_of_a_turn_tells_a_choice_from_a_longer_one():
    steps = [step("no", no=1.0), step("", end=0.9, data=0.1)]
    found = choice_probabilities(["no", "nodata"], steps)
    assert found == {"no": 0.9, "nodata": 0.1}


def test_another_word_with_the_same_beginning_is_no_choice():
    assert choice_probabilities(["yes", "no"], [step("not", **{"not": 0.9, "yes": 0.1})]) is None


@pytest.mark.parametrize("steps", [[], [step("maybe", maybe=0.9, yes=0.1)]])
def test_what_is_no_choice_has_no_probabilities(steps):
    assert choice_probabilities(["yes", "no"], steps) is None


choices = st.lists(st.text("abc", min_size=1, max_size=4), min_size=2, max_size=5, unique=True)


@given(choices, st.data())
def test_they_are_shares_of_one(names: list[str], data: st.DataObject):
    """Choices are written letter by letter, by a model that gives each way some weight."""
    written, steps, before = data.draw(st.sampled_from(names)), [], ""
    for letter in [*written, ""]:
        weights = {c: data.draw(st.floats(0.01, 1)) for c in ["a", "b", "c", ""]}
        total = sum(weights.values())
        steps.append((letter, [Candidate(c, log(w / total)) for c, w in weights.items()]))
        before += letter
    found = choice_probabilities(names, steps)
    assert found is not None
    assert sum(found.values()) == pytest.approx(1, abs=0.001)
    assert set(found) == set(names)
    assert found[written] > 0
