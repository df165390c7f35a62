"""A model that thinks and limits that leave it no room are said together, before a run."""

from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.schema import Job
from pipeline.core.errors import ConfigError
from pipeline.runs.thinking import LEAST_THOUGHT_TOKENS, described_thinking
from tests.support.jobs import vllm_job

TEMPLATE = "{{ messages[0].content }}{% if enable_thinking is false %}<think></think>{% endif %}"
ANSWER = 548  # tokens, as docs/generation.md has it: 4/3 for each of 399 words, and 16


@pytest.fixture(scope="module")
def thinker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a model that thinks unless it is told not to."""
    folder = tmp_path_factory.mktemp("thinker")
    config = {"model_type": "qwen3", "max_position_embeddings": 40960}
    (folder / "config.json").write_bytes(orjson.dumps(config))
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    return folder


def task(folder: Path, thinks: bool = True, **sampling: int) -> Job:
    kwargs = {} if thinks else {"enable_thinking": False}
    return vllm_job(folder, engine={"chat_template_kwargs": kwargs}, sampling=sampling)


@given(most=st.integers(ANSWER, 4000), budget=st.none() | st.integers(1, 4000))
def test_a_thought_without_room_is_warned_of_with_the_room_and_the_way_out(thinker, most, budget):
    limits = {"max_tokens": most} | ({} if budget is None else {"thinking_token_budget": budget})
    left, wanted = most - ANSWER, LEAST_THOUGHT_TOKENS if budget is None else budget
    said = described_thinking(task(thinker, **limits))
    assert (f"leaves {left:,} tokens for its thoughts" in said) == (left < wanted)
    assert ("enable_thinking: false" in said) == (left < wanted)


def test_without_a_limit_or_a_thought_there_is_nothing_to_warn_of(thinker):
    assert "leaves" not in described_thinking(task(thinker))
    assert "leaves" not in described_thinking(task(thinker, thinks=False, max_tokens=600))


def test_a_budget_for_thoughts_that_nothing_could_count_is_a_fault(thinker):
    budget = task(thinker, thinking_token_budget=100)
    without = budget.engine.model_copy(update={"reasoning": "off"})
    with pytest.raises(ConfigError, match="needs a reasoning parser"):
        described_thinking(budget.model_copy(update={"engine": without}))
