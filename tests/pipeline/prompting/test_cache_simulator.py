"""The prefix cache acted out, by hand-made prompts; against vLLM's own in test_prefixes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.prompting.cache_simulator import Batching, batching_of, cached_tokens
from tests.support.jobs import vllm_job

BLOCK = 4


def found(prompts: list[str], blocks: int | None = None, sequences: int = 1, answer: int = 1):
    """Cached tokens of prompts whose letters are tokens, in blocks of four."""
    batching = Batching(blocks, BLOCK, sequences, 64)
    return cached_tokens([list(map(ord, p)) for p in prompts], [answer] * len(prompts), batching)


def test_whole_blocks_of_a_common_beginning_are_found():
    assert found(["abcdefghij", "abcdefghxy", "abcdexghij"]) == [0, 8, 4]


def test_the_last_token_is_computed_always():
    assert found(["abcdefgh", "abcdefgh"]) == [0, 4]


def test_what_stands_behind_a_difference_is_not_found():
    assert found(["abcdefgh1", "xbcdefgh1"]) == [0, 0]


def test_prompts_of_one_step_share_with_each_other():
    assert found(["abcdefghij"] * 3, sequences=3) == [0, 8, 8]


def test_a_full_cache_forgets_what_was_unused_for_longest_and_ends_before_beginnings():
    one, other = "aaaabbbbcccc", "xxxxyyyyzzzz"
    assert found([one, other, one], blocks=7) == [0, 0, 8]
    assert found([one, other, one], blocks=5) == [0, 0, 4]
    assert found([one, other, one], blocks=4) == [0, 0, 0]


def test_what_a_running_request_uses_is_not_forgotten():
    prompts = ["aaaabbbb1", "ccccdddd1", "eeeeffff1", "aaaabbbb2"]
    one_by_one = found(prompts, blocks=7, sequences=1)
    assert one_by_one[3] == 0
    batching = Batching(7, BLOCK, 2, 64)
    long_first = cached_tokens([list(map(ord, p)) for p in prompts], [3, 1, 1, 1], batching)
    assert long_first[3] == 8


def test_a_prompt_longer_than_the_cache_ends_the_forecast_and_not_the_plan():
    assert found(["a" * 40, "b"], blocks=3) == [0, 0]


@given(
    st.lists(st.text("ab", min_size=1, max_size=30), max_size=12),
    st.integers(9, 40),
    st.integers(1, 5),
    st.integers(1, 9),
)
def test_no_cache_finds_more_than_an_endless_one(prompts, blocks, sequences, answer):
    limited = found(prompts, blocks, sequences, answer)
    endless = found(prompts, None, sequences, answer)
    assert all(0 <= mine <= most for mine, most in zip(limited, endless, strict=True))
    assert all(mine < len(prompt) for mine, prompt in zip(endless, prompts, strict=True))


@pytest.mark.parametrize(
    ("options", "blocks"),
    [
        ({"num_gpu_blocks_override": 77, "block_size": 32}, 77),
        ({"kv_cache_memory_bytes": 2**20, "block_size": 32}, 2**20 // (32 * 512)),
    ],
)
def test_the_size_of_the_cache_is_read_from_the_job(options, blocks, tiny_model):
    night = vllm_job(tiny_model, options=options)
    assert batching_of(night) == Batching(blocks, 32, 16, 2048)
