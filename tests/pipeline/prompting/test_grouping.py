"""Prompts by paper, in the order that shares the most, cut into batches."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.records import Prompt
from pipeline.prompting.grouping import (
    PromptGroup,
    common_prefix,
    grouped,
    papers_of,
    split_batches,
)
from tests.support.jobs import record


@given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=30))
def test_the_common_prefix_is_the_longest_there_is(shared, one, other):
    one, other = shared + one, shared + other
    length = common_prefix(one, other)
    assert length >= len(shared)
    assert one[:length] == other[:length]
    assert length == min(len(one), len(other)) or one[length] != other[length]


def test_prompts_of_a_paper_that_begin_alike_stand_together():
    texts = ["x: one", "y: one", "x: two", "y: two", "x: three"]
    (group,) = grouped(texts, ["p"] * 5)
    assert [texts[n][0] for n in group.prompts] == ["x", "x", "x", "y", "y"]
    assert group.fresh[0] == len(texts[group.prompts[0]])
    assert sum(group.fresh) < sum(map(len, texts))


def test_papers_stay_apart():
    groups = grouped(["a", "b", "a", "b"], ["p", "q", "p", "q"])
    assert [group.prompts for group in groups] == [(0, 2), (1, 3)]


@given(
    st.lists(st.lists(st.integers(0, 4000), min_size=1, max_size=30), max_size=30),
    st.integers(1, 20),
    st.sampled_from([0, 0.1, 1, 8]),
    st.integers(0, 40),
    st.randoms(use_true_random=False),
)
def test_every_prompt_is_in_one_batch_and_the_longest_answers_come_first(
    sizes, max_rows, in_flight, min_rows, chance
):
    groups, number = [], 0
    for fresh in sizes:
        groups.append(PromptGroup(tuple(range(number, number + len(fresh))), tuple(fresh)))
        number += len(fresh)
    answers = [chance.randint(1, 9000) for _ in range(number)]
    batches = list(split_batches(groups, max_rows, in_flight, answers, min_rows))
    assert sorted(prompt for batch in batches for prompt in batch) == list(range(number))
    assert all(0 < len(batch) <= max_rows for batch in batches)
    order = {prompt: at for at, prompt in enumerate(n for batch in batches for n in batch)}
    starts = sorted(groups, key=lambda group: order[group.prompts[0]])
    longest = [group.longest(answers) for group in starts]
    assert longest == sorted(longest, reverse=True)
    for group in groups:  # in the order that shares the most
        places = [order[prompt] for prompt in group.prompts]
        assert places == list(range(places[0], places[0] + len(places)))


def test_groups_come_by_their_work_if_all_answers_are_as_long():
    groups = [PromptGroup((n,), (size,)) for n, size in enumerate((40, 4000, 400))]
    assert list(split_batches(groups, 3, 0, [9] * 3)) == [[1, 2, 0]]
    assert list(split_batches(groups, 3, 0, [9, 9, 10])) == [[2, 1, 0]]


@pytest.mark.parametrize("in_flight", [4, 100])
def test_batches_are_not_so_small_that_engines_wait_nor_so_large_that_replicas_do(in_flight):
    groups = [PromptGroup(tuple(range(4 * n, 4 * n + 4)), (400,) * 4) for n in range(300)]
    batches = list(split_batches(groups, 80, in_flight, [100] * 1200, min_rows=40))
    *others, last = map(len, batches)
    assert min(others) >= min(40, 1200 // in_flight)
    assert max(map(len, batches)) == (80 if in_flight == 4 else 12)
    assert last <= 40


def test_long_groups_come_before_short_ones_and_stay_whole():
    groups = [
        PromptGroup((0, 1), (10, 10)),
        PromptGroup((2, 3), (900, 900)),
        PromptGroup((4, 5), (500, 500)),
    ]
    batches = list(split_batches(groups, 10, 0.01, [0] * 6))
    assert [prompt for batch in batches for prompt in batch] == [2, 3, 4, 5, 0, 1]
    assert all(len(b) == 2 for b in split_batches(groups, 3, 0.01, [0] * 6))


def test_a_group_larger_than_a_batch_is_cut_where_the_least_is_shared():
    group = PromptGroup((0, 1, 2, 3, 4, 5), (900, 10, 10, 700, 10, 10))
    batches = list(split_batches([group], 4, 0.01, [1] * 6))
    assert sorted(batches) == [[0, 1, 2], [3, 4, 5]]


@given(
    st.lists(st.lists(st.integers(1, 12), min_size=1, max_size=12), min_size=1, max_size=12),
    st.integers(1, 12),
    st.sampled_from([0, 0.1, 1, 8]),
)
def test_equal_prompts_are_in_one_batch_if_it_can_hold_them(papers, max_rows, in_flight):
    """`papers` holds how many prompts are equal, for each different prompt of each paper."""
    groups, equal, number = [], [], 0
    for sizes in papers:
        texts = [text for text, size in enumerate(sizes) for _ in range(size)]
        fresh = [40 * (n == 0 or texts[n - 1] != text) for n, text in enumerate(texts)]
        groups.append(PromptGroup(tuple(range(number, number + len(texts))), tuple(fresh)))
        for size in sizes:
            equal.append({*range(number, number + size)})
            number += size
    batches = [*map(set, split_batches(groups, max_rows, in_flight, [100] * number))]
    assert sum(map(len, batches)) == len(set().union(*batches)) == number
    assert all(0 < len(batch) <= max_rows for batch in batches)
    for prompts in equal:
        held = sum(not prompts.isdisjoint(batch) for batch in batches)
        assert held <= 1 + (len(prompts) - 1) // max_rows + (len(prompts) > max_rows)


def test_equal_prompts_of_several_papers_stand_with_the_first():
    prompts = [
        Prompt(record(number, paper_id=paper), (), "", "", key)
        for number, (paper, key) in enumerate(
            [("p", "a"), ("q", "a"), ("q", "b"), (None, "c"), (None, "c"), (None, "d")]
        )
    ]
    ids = [prompt.record.record_id for prompt in prompts]
    assert papers_of(prompts) == ["p", "p", "q", ids[3], ids[3], ids[5]]


def test_batches_shrink_towards_the_end_when_several_are_in_flight():
    groups = [PromptGroup((2 * n, 2 * n + 1), (400, 4)) for n in range(200)]
    sizes = [len(batch) for batch in split_batches(groups, 20, 4, [100] * 400)]
    assert sizes[0] == 20
    assert sizes[-1] == 4
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize("per_paper", [1, 2, 30])
def test_batches_of_a_single_replica_stay_full_to_the_end(per_paper):
    papers = [range(n, n + per_paper) for n in range(0, 240, per_paper)]
    groups = [PromptGroup(tuple(p), (400,) * per_paper) for p in papers]
    sizes = [len(batch) for batch in split_batches(groups, 60, 0, [100] * 240)]
    assert sizes == [60] * 4
