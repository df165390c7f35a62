"""The estimated share of the prefix cache, by hand-made prompts; vLLM's own is in
`test_prefix_sharing.py`.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.schema import Answer
from pipeline.prompting.cache_estimate import cached_tokens, estimate_cache, is_sampled
from pipeline.prompting.template import load_prompt
from tests.support.jobs import BETTER_PROMPT, vllm_job

BLOCK = 4


def cached(*prompts: str) -> int:
    """Cached tokens of prompts whose letters are tokens, in blocks of four."""
    return cached_tokens([list(map(ord, prompt)) for prompt in prompts], BLOCK)


def test_whole_blocks_of_a_common_prefix_are_cached():
    assert cached("abcdefghij", "abcdefghxy") == 8
    assert cached("abcdefghij", "abcdexghij") == 4


def test_the_last_token_is_always_computed():
    assert cached("abcdefgh", "abcdefgh") == 4


def test_nothing_behind_a_difference_is_cached():
    assert cached("abcdefgh1", "xbcdefgh1") == 0


def test_the_same_tokens_after_another_beginning_are_another_block():
    assert cached("aaaabbbb1", "ccccbbbb1") == 0


@given(st.lists(st.text("ab", min_size=1, max_size=30), max_size=12))
def test_it_is_the_longest_prefix_shared_with_any_earlier_prompt(prompts):
    def shared(at: int) -> int:
        ends = range(0, len(prompts[at]), BLOCK)
        return max(e for e in ends if not e or prompts[at][:e] in {p[:e] for p in prompts[:at]})

    assert cached(*prompts) == sum(map(shared, range(len(prompts))))


@given(st.lists(st.text("ab", min_size=1, max_size=30), max_size=12).map(sorted))
def test_in_sorted_order_the_predecessor_alone_gives_as_much(prompts):
    """Why the size of the cache does not matter to it."""
    pairs = zip(["", *prompts], prompts, strict=False)
    assert cached(*prompts) == sum(cached(before, prompt) for before, prompt in pairs)


@pytest.mark.parametrize(
    ("options", "tokens"),
    [
        ({"num_gpu_blocks_override": 77, "block_size": 32}, 77 * 32),
        ({"kv_cache_memory_bytes": 2**20 + 9, "block_size": 32}, 2**20 // 512),
        ({"kv_cache_memory_bytes": None}, None),
    ],
)
def test_the_size_of_the_cache_is_read_from_the_job(options, tokens, tiny_model):
    job = vllm_job(tiny_model, options=options)
    assert (
        estimate_cache([], job, load_prompt(BETTER_PROMPT, Answer(max_words=30))).cache_tokens
        == tokens
    )


def test_a_paper_is_sampled_everywhere_or_nowhere():
    papers = [f"paper-{n}" for n in range(1000)]
    sampled = [paper for paper in papers if is_sampled(paper, 0.3)]
    assert 200 < len(sampled) < 400
    assert sampled == [paper for paper in papers if is_sampled(paper, 0.3)]
    assert all(is_sampled(paper, 1) for paper in papers)
