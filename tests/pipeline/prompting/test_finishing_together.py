"""Eight simulated replicas whose answers are as long as models think: when does the last one end?

The least that is possible are full engines to the end, or the longest answer alone.
"""

from functools import cache

import pytest

from pipeline.prompting.grouping import PromptGroup
from tests.support.fleet import Asked, fleet_seconds, least_seconds
from tests.support.generated_papers import QUESTIONS, Measured, Papers, measured, papers

REPLICAS = 8


@cache
def generated(number: int, seed: int) -> Papers:
    return papers(number, seed)


def nothing_known(number: int, seed: int, sequences: int) -> Measured:
    drawn = generated(number, seed)
    return measured(drawn, [500] * len(drawn.answers), REPLICAS, sequences)


def known(number: int, seed: int, sequences: int) -> Measured:
    drawn = generated(number, seed)
    return measured(drawn, drawn.answers, REPLICAS, sequences)


def test_a_full_engine_to_the_end_takes_the_least_that_is_possible():
    batches = [[Asked(100, 0)] * 16] * 40
    every = [prompt for batch in batches for prompt in batch]
    assert fleet_seconds(batches, 4, 32, 4) == pytest.approx(least_seconds(every, 4, 32))


def test_a_fleet_takes_no_less_than_its_longest_answer():
    batches = [[Asked(8000, 0)], *[[Asked(10, 0)]] * 30]
    every = [prompt for batch in batches for prompt in batch]
    assert fleet_seconds(batches, 8, 16, 4) >= least_seconds(every, 8, 16)


@pytest.mark.parametrize(("number", "sequences"), [(1000, 32), (1300, 64)])
def test_replicas_finish_within_a_fiftieth_if_earlier_runs_tell_the_lengths(number, sequences):
    assert known(number, 0, sequences).ratio <= 1.02


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("number", "most"), [(218, 1.25), (600, 1.1)])
def test_engines_stay_full_though_nobody_knows_the_lengths(number, most, seed):
    assert nothing_known(number, seed, 32).ratio <= most


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("number", "sequences"), [(218, 32), (218, 128), (600, 32)])
def test_lengths_that_are_known_bring_the_end_forward(number, sequences, seed):
    with_lengths, without = (way(number, seed, sequences) for way in (known, nothing_known))
    assert with_lengths.ratio - 1 < 0.6 * (without.ratio - 1)


@pytest.mark.parametrize(("number", "sequences"), [(218, 32), (218, 128), (600, 32)])
def test_the_cache_holds_as_much_in_that_order(number, sequences):
    drawn = generated(number, 0)
    whole = 1 - sum(sum(group.fresh) for group in drawn.groups) / sum(drawn.characters)
    assert known(number, 0, sequences).cached >= whole - 0.005
    assert whole > 0.5


def test_lengths_by_question_tell_which_records_without_a_paper_to_begin_with():
    drawn = papers(100, explained=0.5)
    single = [PromptGroup((n,), (size,)) for n, size in enumerate(drawn.characters)]
    alone = Papers(single, drawn.characters, drawn.answers, drawn.questions, questions_each=1)
    expected = drawn.lengths().expected(["new"] * len(drawn.answers), drawn.questions)
    assert len(set(expected)) == QUESTIONS
    without = measured(alone, [500] * len(expected), REPLICAS, 16)
    assert measured(alone, expected, REPLICAS, 16).ratio - 1 < 0.7 * (without.ratio - 1)
