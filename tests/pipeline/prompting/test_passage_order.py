"""Passages arranged for the longest shared prefixes, compared with every possible order."""

from itertools import permutations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.records import Passage
from pipeline.prompting.passage_order import arrange

LETTERS = "abcdef"


def passages(letters: str) -> tuple[Passage, ...]:
    """A passage for each letter, of a length of its own."""
    return tuple(Passage(letter * (10 + 7 * LETTERS.index(letter))) for letter in letters)


def saved(orders) -> int:
    """Characters of passages that the orders' prefix tree saves."""
    nodes, total = {}, 0
    for order in orders:
        for depth, passage in enumerate(order):
            total += len(passage.text)
            nodes[order[: depth + 1]] = len(passage.text)
    return total - sum(nodes.values())


def arranged(records) -> dict[int, tuple[Passage, ...]]:
    return dict(arrange(records))


@given(st.lists(st.lists(st.sampled_from(LETTERS), max_size=8).map("".join), max_size=8))
def test_every_record_keeps_exactly_its_passages(letter_lists):
    records = [passages(letters) for letters in letter_lists]
    arranged_ = arrange(records)
    assert sorted(number for number, _ in arranged_) == list(range(len(records)))
    for number, order in arranged_:
        assert sorted(order) == sorted(records[number])


@given(st.lists(st.sets(st.sampled_from(LETTERS[:4]), max_size=3), min_size=1, max_size=4))
def test_for_a_few_records_hardly_any_order_saves_more(letter_sets):
    records = [passages("".join(sorted(letters))) for letters in letter_sets]
    best = max(saved(orders) for orders in product(*map(permutations, records)))
    assert saved(arranged(records).values()) >= 0.9 * best


def test_what_all_share_comes_first_and_what_some_share_next():
    records = [passages("abc"), passages("bcd"), passages("ecb"), passages("bf")]
    orders = arranged(records)
    (first,) = passages("b")
    assert {order[0] for order in orders.values()} == {first}
    assert orders[0][:2] == orders[1][:2] == orders[2][:2] == passages("bc")


def test_a_rarer_but_longer_passage_may_come_first():
    short, long = Passage("s"), Passage("l" * 100)
    orders = arranged([(short, long, Passage("x")), (long, short), (short,), (short,)])
    assert orders[0][0] == orders[1][0] == short
    orders = arranged([(short, long), (long, Passage("x")), (short, Passage("y"))])
    assert orders[0][0] == orders[1][0] == long


def test_records_that_share_a_branch_come_one_after_the_other():
    records = [passages("ab"), passages("cd"), passages("ba"), passages("dc"), passages("ab")]
    numbers = [number for number, _ in arrange(records)]
    assert abs(numbers.index(1) - numbers.index(3)) == 1


def test_the_same_text_from_another_source_is_another_passage():
    here, there = Passage("the same words", "page 1"), Passage("the same words", "page 2")
    other = Passage("other words")
    orders = arranged([(here, other), (there, other)])
    assert orders[0][0] == orders[1][0] == other


def test_a_passage_held_twice_is_kept_twice():
    twice = passages("aab")
    assert sorted(arranged([twice, passages("ab")])[0]) == sorted(twice)


@pytest.mark.parametrize("size", [28, 200])
def test_arranging_is_deterministic(size):
    records = [
        passages("".join(LETTERS[(n * k + k) % 6] for k in range(n % 5 + 1))) for n in range(size)
    ]
    assert arrange(records) == arrange(records)
