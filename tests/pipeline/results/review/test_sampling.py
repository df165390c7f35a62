"""Samples for people to read: stratified, the same for the same seed, and weighted."""

from collections import Counter
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.filesystem import Location
from pipeline.results.review.sampling import Drawn, shared_out
from pipeline.results.review.sheet import draw
from tests.support.export_rows import row
from tests.support.reading import claim, store_of

MODELS, VERDICTS, QUESTIONS = ("a", "b"), ("yes", "no", "unsure"), ("Q1", "Q2", "Q3")
SEED = 7


def answers(each: int) -> list[dict[str, Any]]:
    """So many answers of each model, verdict and question, every third with an invented number."""
    return [
        row(
            f"{verdict}{question}-{number}",
            generation_key=f"{model}-{verdict}-{question}-{number}",
            model=model,
            answers_question=verdict,
            question_id=question,
            claims=[claim("unsupported")] if number % 3 == 0 else [],
        )
        for model, verdict, question, number in product(MODELS, VERDICTS, QUESTIONS, range(each))
    ]


POPULATION = answers(each=9)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Location:
    return store_of(tmp_path_factory.mktemp("sampling") / "store", POPULATION)


def keys(drawn: list[Drawn]) -> list[tuple[str, str]]:
    return [(one.record_id, one.generation_key) for one in drawn]


@pytest.mark.parametrize("wanted", [1, 2, 3, 10, 40, 161, len(POPULATION), 1000])
def test_weights_sum_to_the_population_and_no_answer_is_drawn_twice(store, wanted):
    drawn = draw(store, wanted, SEED)
    assert len(drawn) == min(wanted, len(POPULATION)) == len(set(keys(drawn)))
    assert sum(one.weight for one in drawn) == pytest.approx(len(POPULATION))


LEVEL_OF = {36: 4, 30: 4, 29: 3, 10: 3, 9: 2, 6: 2, 5: 1, 3: 1, 2: 0, 1: 0}
"""The population has 3 reasons; with models 6 strata, with verdicts 10, with questions 30."""


@pytest.mark.parametrize(("wanted", "level"), LEVEL_OF.items())
def test_every_stratum_appears_at_the_finest_level_that_fits(store, wanted, level):
    strata = {one.stratum for one in draw(store, wanted, SEED)}
    assert strata == {stratum[:level] for stratum in by_stratum()}


def test_the_weight_of_a_stratum_is_its_size_over_what_was_drawn_of_it(store):
    drawn = draw(store, 50, SEED)
    for stratum, count in Counter(one.stratum for one in drawn).items():
        (weight,) = {one.weight for one in drawn if one.stratum == stratum}
        assert weight * count == pytest.approx(round(weight * count))


def test_the_same_seed_draws_the_same_answers_whatever_the_order_of_parts(tmp_path, store):
    shuffled = [POPULATION[i::7] for i in range(7)]
    other = store_of(tmp_path / "store", *reversed(shuffled))
    assert draw(other, 40, SEED) == draw(store, 40, SEED)
    assert keys(draw(store, 40, SEED + 1)) != keys(draw(store, 40, SEED))


def test_every_answer_of_a_stratum_is_as_likely_to_be_drawn(store):
    draws = Counter(key for seed in range(200) for key in keys(draw(store, 30, seed)))
    assert len(draws) == len(POPULATION)
    for stratum, of_stratum in by_stratum().items():
        seen = [draws[key] for key in of_stratum]
        mean = sum(seen) / len(seen)
        chi_squared = sum((n - mean) ** 2 / mean for n in seen)
        assert chi_squared < len(seen) + 5 * (2 * len(seen)) ** 0.5, stratum


def by_stratum() -> dict[tuple[str, ...], list[tuple[str, str]]]:
    """The keys of the population's answers, as this test knows their strata."""
    strata: dict[tuple[str, ...], list[tuple[str, str]]] = {}
    for one in POPULATION:
        verdict = one["answers_question"]
        invents = "unsupported" if one["claims"] else "no reason"
        reason = "unsure" if verdict == "unsure" else invents
        stratum = (reason, one["model"], verdict, one["question_id"])
        strata.setdefault(stratum, []).append((one["record_id"], one["generation_key"]))
    return strata


def test_only_the_newest_answer_of_a_model_is_drawn(tmp_path):
    old = [row("r", model="a", generation_key="old"), row("r", model="b", generation_key="b")]
    new = [row("r", model="a", generation_key="new")]
    store = store_of(tmp_path / "store", old, new)
    assert set(keys(draw(store, 10, SEED))) == {("r", "b"), ("r", "new")}


def test_an_empty_store_gives_an_empty_sample(tmp_path):
    assert draw(store_of(tmp_path / "store", []), 5, SEED) == []


@settings(max_examples=200)
@given(
    st.dictionaries(st.tuples(st.text("ab", max_size=3)), st.integers(1, 50)), st.integers(0, 90)
)
def test_strata_share_equally_up_to_their_size(sizes, wanted):
    given_ = shared_out(sizes, wanted)
    assert sum(given_.values()) == min(wanted, sum(sizes.values()))
    assert all(given_[stratum] <= size for stratum, size in sizes.items())
    open_ = [given_[stratum] for stratum, size in sizes.items() if given_[stratum] < size]
    most = max(given_.values(), default=0)
    assert all(most - n <= 1 for n in open_)
