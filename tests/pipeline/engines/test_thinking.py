"""A model that thinks, on vLLM with its own parser.

`OVERNIGHT_PROMPTS=100` asks as many under each setting.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pipeline.answering.checks import chosen_checks
from pipeline.answering.evaluate import EvaluatedAttempt, Evaluator
from pipeline.config.schema import Job
from pipeline.core.records import Message, Prompt, failing
from pipeline.engines.engine import Request
from tests.support.jobs import job_file, record, rows, vllm_job, write_jsonl
from tests.support.thinking import TALKS, thinking_model

if TYPE_CHECKING:
    from tests.support.local_vllm import LocalVllm

PROMPTS = int(os.environ.get("OVERNIGHT_PROMPTS", "12"))
WORDS = ("herons", "lamps", "nests", "towers", "salt", "sound", "moss", "tides", "sensors", "reeds")
EVALUATOR = Evaluator(chosen_checks({}), 399)
PROMPT = Prompt(record(), (), "", "", "")


@pytest.fixture(scope="module")
def model() -> "Iterator[LocalVllm]":
    from tests.support.local_vllm import LocalVllm

    local = LocalVllm(a_job())
    yield local
    local.close()


def a_job(**sections) -> Job:
    sampling = {"temperature": 0, **sections.pop("sampling", {})}
    return vllm_job(thinking_model(), sampling=sampling, **sections)


def requests() -> list[Request]:
    """Prompts that differ in their last words, by which the model chooses what to think."""
    texts = [f"What of {one} and {other}?" for one in WORDS for other in WORDS][:PROMPTS]
    prompts = (Prompt(record(), (Message("user", text),), "", "", "") for text in texts)
    return list(map(Request.first, prompts))


def answers(
    model: "LocalVllm", asked: list[Request] | None = None, **sections
) -> list[EvaluatedAttempt]:
    """The evaluated completions of all requests under a job's own settings."""
    completions = model.generate_as(a_job(**sections), *(asked or requests()))
    return [EVALUATOR.evaluate(completion, PROMPT) for completion in completions]


def thoughts_in(answer: str) -> list[str]:
    """The sentences of any thought that an answer repeats."""
    sentences = (s for talk in TALKS for s in talk.thought.split(". "))
    return [sentence for sentence in sentences if sentence in answer]


def test_a_thought_is_never_a_part_of_the_answer(model):
    found = answers(model)
    for attempt in found:
        completion = attempt.completion
        assert failing(attempt.checks) == ()
        assert thoughts_in(attempt.answer) == []
        assert attempt.answer in completion.content
        assert completion.reasoning in completion.text
        assert 0 < completion.reasoning_tokens < completion.completion_tokens
    assert len({attempt.completion.reasoning_tokens for attempt in found}) > 1


def test_an_enforced_frame_begins_behind_the_thought(model):
    for attempt in answers(model, answer={"decoding": "enforced", "max_words": 399}):
        assert attempt.completion.reasoning_tokens > 0
        assert thoughts_in(attempt.answer) == []
        assert {c.name: c.passed for c in attempt.checks}["format"]
        assert attempt.completion.content.startswith("Answer:::\n")
        assert attempt.completion.finish_reason == "stop"


@pytest.mark.parametrize("decoding", ["free", "enforced"])
def test_a_thought_ends_at_its_budget_and_an_answer_follows(decoding, model):
    budget = {"thinking_token_budget": 20}
    found = answers(model, requests(), sampling=budget, answer={"decoding": decoding})
    for attempt in found:
        assert attempt.completion.reasoning_tokens == 20
        assert attempt.answer
        assert thoughts_in(attempt.answer) == []


def test_a_thought_that_is_cut_off_is_no_answer(model):
    cut = [replace(request, max_tokens=15) for request in requests()]
    for attempt in answers(model, cut):
        assert attempt.answer == ""
        assert attempt.completion.split is not None
        assert not attempt.completion.split.is_closed
        evidence = {check.name: check.evidence for check in attempt.checks}
        assert "the thought is not closed" in evidence["complete"]
        assert attempt.repairs == ("more_tokens", "more_tokens")


def test_a_small_limit_is_the_answer_s_and_the_thought_is_left_out(model):
    for attempt in answers(model, requests()[:5], sampling={"max_tokens": 100}):
        assert attempt.completion.reasoning == ""
        assert attempt.answer


@pytest.mark.parametrize("decoding", ["free", "enforced"])
def test_with_thinking_switched_off_the_answer_begins_at_once(decoding, model):
    off = {"chat_template_kwargs": {"enable_thinking": False}}
    for attempt in answers(model, requests(), engine=off, answer={"decoding": decoding}):
        assert attempt.completion.reasoning == ""
        assert attempt.completion.text.startswith("Answer:::\n")
        assert failing(attempt.checks) == ()


def test_preview_shows_thought_and_answer_apart(command, tmp_path):
    write_jsonl(tmp_path / "in/a.jsonl", rows(range(2)))
    path = job_file(tmp_path / "job.yaml", a_job(uri=tmp_path / "in", store=tmp_path / "store"))
    done = command("preview", path, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["engine"] == "vllm"
    for shown in document["records"]:
        assert shown["reasoning"]
        assert shown["answer"]
        assert thoughts_in(shown["answer"]) == []
        assert 0 < shown["reasoning_tokens"] < shown["completion_tokens"]
        assert shown["prompt"].endswith("<|im_start|>assistant\n")
    assert len(document["records"]) == 2
    assert not (tmp_path / "store").exists()
