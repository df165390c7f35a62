"""What a model that speaks says, and what becomes of it: SmolLM2 on vLLM, over two demo papers."""

import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from pipeline.answering.prepare import prepare
from pipeline.config.loading import load_job
from pipeline.config.schema import Job
from pipeline.core.records import PLAIN, Answered, Message, Prompt, failing
from pipeline.core.words import count_words
from pipeline.engines import generation_identity
from pipeline.engines.engine import Request
from pipeline.prompting.fit import fitting
from pipeline.prompting.render import prompt_of
from pipeline.reading.source import read_items
from tests.support.jobs import ROOT, WORKER_INSIDE, record, selection
from tests.support.smollm import smollm

if TYPE_CHECKING:
    from tests.support.local_vllm import LocalVllm

CAPITAL = (Message("user", "What is the capital of France?"),)
SHORT = ("answer.max_words=40", "attempts=3")
THINGS = ("Why is the sky blue?", "What is a heron?", "Describe a lighthouse.", "What is ice?")


def a_job(*overrides: str) -> Job:
    """That of `make demo-model`, in float32: in bfloat16 processors with and without matrix units
    differ in what a model so small says.
    """
    model = [f"engine.model={smollm()}"]
    options = [
        f"distributed_executor_backend={WORKER_INSIDE}",
        "dtype=float32",
        f"kv_cache_memory_bytes={2**30}",  # for all prompts at once
    ]
    inside = [f"engine.options.{option}" for option in options]
    return load_job(ROOT / "conf/demo/model.yaml", [*model, *inside, *overrides])


@pytest.fixture(scope="module")
def model() -> "Iterator[LocalVllm]":
    from tests.support.local_vllm import LocalVllm

    local = LocalVllm(a_job())
    yield local
    local.close()


def asked(messages: tuple[Message, ...]) -> Prompt:
    return Prompt(record(), messages, "", "", "")


def said(model: "LocalVllm", messages: tuple[Message, ...], *overrides: str) -> tuple[str, str]:
    """The text of a completion, and why it ended."""
    (completion,) = model.generate_as(a_job(*overrides), Request.first(asked(messages)))
    return completion.text, str(completion.finish_reason)


def answers(model: "LocalVllm", *overrides: str) -> list[Answered]:
    job = a_job(*overrides)
    prepared, identity, fit = prepare(job, selection(job)), generation_identity(job), fitting(job)
    items = read_items(prepared.listing.shards, job.input, prepared.storage)
    prompts = [prompt_of(item, prepared.source, identity(item), fit) for item in items]
    assert len(prompts) == 12
    return model.answer_as(job, *prompts)


@pytest.fixture(scope="module")
def free(model: "LocalVllm") -> list[Answered]:
    return answers(model, "attempts=2")


@pytest.fixture(scope="module")
def enforced(model: "LocalVllm") -> list[Answered]:
    return answers(model, "answer.decoding=enforced", *SHORT)


def passing_first(found: list[Answered]) -> int:
    return sum(not answered.attempts[0].failed_checks for answered in found)


def passing(found: list[Answered], check: str) -> int:
    return sum(c.passed for answered in found for c in answered.checks if c.name == check)


def words_of(*texts: str) -> list[str]:
    return re.findall(r"[a-z]+", " ".join(texts).lower())


def test_with_its_chat_template_it_answers_and_ends_its_turn(model):
    text, reason = said(model, CAPITAL)
    assert "Paris" in text
    assert reason == "stop"


def test_without_one_it_does_not_know_that_it_was_asked(model):
    (message,) = CAPITAL
    assert "Paris" not in said(model, (Message(PLAIN, message.content),))[0]


def test_a_stop_string_ends_an_answer_in_front_of_itself(model):
    whole, _ = said(model, CAPITAL)
    text, reason = said(model, CAPITAL, "sampling.stop=[Paris]")
    assert (text, reason) == (whole.partition("Paris")[0], "stop")


def test_it_never_writes_the_frame_by_itself_and_its_answer_is_found_anyway(free):
    assert passing(free, "format") == 0
    assert all(answered.answer in answered.completion.text for answered in free)
    assert all(count_words(answered.answer) > 4 for answered in free)


def test_repairs_raise_the_share_that_passes(free):
    assert 0 < passing_first(free) < sum(answered.status == "answered" for answered in free)


def test_an_answer_that_is_too_long_is_said_in_fewer_words_when_asked(model):
    job = a_job("answer.max_words=40")
    prompts = (asked((Message("user", thing),)) for thing in THINGS)
    found = model.answer_as(job, *prompts)
    for answered in found:
        words = [count_words(attempt.completion.text) for attempt in answered.attempts]
        assert words == sorted(words, reverse=True)
        assert "word_count" in answered.attempts[0].failed_checks
    assert sum(answered.status == "answered" for answered in found) >= 3


def test_a_loop_is_found_and_left_by_another_attempt(free):
    looped = [
        (attempt, following)
        for answered in free
        for attempt, following in zip(answered.attempts, answered.attempts[1:], strict=False)
        if "repetition" in attempt.failed_checks
    ]
    assert looped
    for attempt, following in looped:
        words = words_of(attempt.completion.text)
        assert len(set(words)) < len(words) / 2
        assert following.completion.text != attempt.completion.text


def test_enforced_answers_keep_the_frame_and_the_limit(enforced):
    for check in ("format", "word_count"):
        assert passing(enforced, check) == len(enforced)


def test_enforced_answers_end_where_the_model_ends_its_turn(enforced):
    assert passing_first(enforced) >= 8
    assert sum(count_words(answered.answer) < 35 for answered in enforced) >= 6


def test_enforced_answers_read_as_english(free, enforced):
    shards = (ROOT / "conf/demo/shards/text").iterdir()
    read = words_of(*(path.read_text(encoding="utf-8") for path in shards))
    known = {*read, *words_of(*(answered.answer for answered in free))}
    words = words_of(*(answered.answer for answered in enforced))
    assert sum(word in known for word in words) > 0.8 * len(words)


# Answers of other formats.

ASKED = {
    "Is Paris in France? Answer yes or no.": "yes",
    "Is the sun cold? Answer yes or no.": "no",
    "Do birds have wings? Answer yes or no.": "yes",
}

PLACE = {
    "type": "object",
    "properties": {
        "country": {"type": "string", "maxLength": 40},
        "continent": {"enum": ["Africa", "Asia", "Europe", "other"]},
        "cities": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"name": {"type": "string", "maxLength": 20}},
                "required": ["name"],
                "additionalProperties": False,
            },
            "minItems": 1,
            "maxItems": 3,
        },
    },
    "required": ["country", "continent", "cities"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("decoding", ["free", "enforced"])
def test_a_choice_comes_with_the_probability_of_each(model, decoding: str):
    job = a_job("answer={choices: [yes, no, unclear]}", f"answer.decoding={decoding}")
    found = model.answer_as(job, *(asked((Message("user", text),)) for text in ASKED))
    for answered in found:
        assert answered.status == "answered"
        probabilities = answered.completion.probabilities
        assert list(probabilities) == ["yes", "no", "unclear"]
        assert sum(probabilities.values()) == pytest.approx(1, abs=0.001)
        assert max(probabilities, key=probabilities.get) == answered.answer


def test_enforced_documents_follow_their_schema(model):
    job = a_job(f"answer={{schema: {json.dumps(PLACE)}, decoding: enforced}}")
    texts = [f"Name the country of {c} and its cities." for c in ("Rome", "Cairo", "Lima")]
    found = model.answer_as(job, *(asked((Message("user", text),)) for text in texts))
    for answered in found:
        if answered.completion.finish_reason == "stop":
            assert set(json.loads(answered.document)) == set(PLACE["properties"])
            assert answered.status == "answered"
    assert any(answered.status == "answered" for answered in found)


def test_what_failed_is_never_called_answered(free, enforced):
    for answered in (*free, *enforced):
        assert (answered.status == "failed") == bool(failing(answered.checks))
