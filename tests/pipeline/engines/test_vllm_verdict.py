"""Verdicts with vLLM itself: the CPU build, a random model and one that thinks in tags."""

import json
import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from tokenizers.decoders import DecodeStream

from pipeline.config.schema import JudgeConfig
from pipeline.core.records import PLAIN, Completion, Message, Prompt
from pipeline.engines.engine import Request
from pipeline.engines.tokenizer import PromptEncoder
from pipeline.engines.vllm_verdict import REPLACEMENT, _behind_answer, deciding_tokens
from pipeline.prompting.judge_template import JudgeTemplate
from pipeline.prompting.template import load_prompt, render
from tests.support.jobs import BETTER_PROMPT, record, vllm_job

CHOICES = ("yes", "no", "unsure")
TEMPLATES = ("conf/prompts/judge-answers.md", "conf/prompts/judge-supported.md")
ANSWER_TOKENS = 40


@pytest.fixture(scope="module")
def task(tiny_model):
    sampling = {"max_tokens": ANSWER_TOKENS, "temperature": 0.9, "ignore_eos": True}
    return vllm_job(tiny_model, judge={}, sampling=sampling, attempts=1)


def prompts(count: int, **fields) -> list[Prompt]:
    source = load_prompt(BETTER_PROMPT, vllm_job("model").answer)
    records = [record(n, **fields) for n in range(count)]
    return [Prompt(r, *render(source, r), "p", f"g{r.record_id}") for r in records]


def answered(local_vllm, task, count: int = 8):
    return local_vllm.answer_as(task, *prompts(count))


def test_a_verdict_is_a_choice_with_the_probabilities_of_all(local_vllm, task):
    for answer in answered(local_vllm, task):
        (judgement,) = answer.judgements
        shares = json.loads(judgement.evidence)
        assert set(shares) == set(CHOICES)
        assert sum(shares.values()) == pytest.approx(1, abs=0.001)
        assert judgement.value == max(shares, key=shares.get)
        assert judgement.probability == shares[judgement.value]
        assert answer.judging.judged == 1


def turn_tokens(local_vllm, template: str) -> int:
    """Tokens of a judge's turn with all that the chat template writes around it."""
    encoder = local_vllm.process._encoder
    turn = JudgeTemplate.load(JudgeConfig(template=template)).turn(
        dict.fromkeys(("record_id", "paper_id", "question_id", "question", "answer"), "text")
    )
    said = (Message("user", "Why?"), Message("assistant", "So."))
    whole = encoder.text((*said, Message("user", turn)))
    return len(encoder.tokenizer.encode(whole)) - len(
        encoder.tokenizer.encode(encoder.text(said[:1]) + "So.")
    )


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_verdict_takes_at_most_40_tokens_beyond_the_answers_own(local_vllm, task, template):
    judged = task.model_copy(update={"judge": JudgeConfig(template=template)})
    own = turn_tokens(local_vllm, template)
    assert own <= 40
    for answer in answered(local_vllm, judged):
        before = answer.completion.prompt_tokens + answer.completion.completion_tokens
        assert answer.judging.judge_prompt_tokens - before <= own + 2
        assert answer.judging.judge_completion_tokens == 1


def test_prompt_and_answer_come_from_the_prefix_cache(local_vllm, task):
    """All whole blocks of both: this build has blocks of 128 tokens."""
    for answer in answered(local_vllm, task):
        before = answer.completion.prompt_tokens + answer.completion.completion_tokens
        assert answer.judging.judge_cached_tokens >= (before - 1) // 128 * 128 > 0


def text_of(tokens: Sequence[int], encoder: PromptEncoder, before: list[int]) -> str:
    """In vLLM's own way: the bytes of a character that tokens end within are not in it."""
    stream = DecodeStream(ids=before, skip_special_tokens=True)
    return "".join(stream.step(encoder.tokenizer._tokenizer, n) or "" for n in tokens)


def test_a_judge_goes_on_behind_the_tokens_that_the_model_wrote(local_vllm, task):
    (answer,) = answered(local_vllm, task, 1)
    encoder, tokens = local_vllm.process._encoder, answer.completion.tokens
    assert len(tokens) == answer.completion.completion_tokens == ANSWER_TOKENS
    before = encoder.encode(answer.prompt.messages)
    assert text_of(tokens, encoder, before) == answer.completion.text


def test_any_tokens_are_known_by_the_text_that_vllm_makes_of_them(local_vllm):
    """Random answers with bytes of no character in them; half of them end within one."""
    encoder, rng = local_vllm.process._encoder, random.Random(4)
    special = set(encoder.tokenizer.all_special_ids)
    ordinary = [n for n in range(len(encoder.tokenizer)) if n not in special]
    (prompt,) = prompts(1)
    partial = [n for n in ordinary if encoder.tokenizer.decode([n]).endswith(REPLACEMENT)]
    before = encoder.encode(prompt.messages)
    for last in (ordinary, partial) * 200:
        tokens = (*rng.choices(ordinary, k=ANSWER_TOKENS - 1), rng.choice(last))
        text = text_of(tokens, encoder, before)
        request = Request.judging(prompt, Completion(text, "length", tokens=tokens), "So?", CHOICES)
        assert _behind_answer(encoder, request)[len(before) :][:ANSWER_TOKENS] == list(tokens)


def test_tokens_of_another_text_are_not_taken_for_the_answers(local_vllm):
    """As behind a thought, which the answer's text does not hold."""
    encoder = local_vllm.process._encoder
    (prompt,) = prompts(1)
    tokens = tuple(encoder.tokenizer.encode("A thought. Three herons.", add_special_tokens=False))
    said = Completion("Three herons.", "stop", tokens=tokens)
    assert not _behind_answer(encoder, Request.judging(prompt, said, "So?", CHOICES))


def test_a_job_without_a_judge_keeps_no_tokens(local_vllm, task):
    (answer,) = answered(local_vllm, task.model_copy(update={"judge": None}), 1)
    assert (answer.completion.tokens, answer.judgements) == ((), ())


def test_a_stored_answer_is_judged_by_its_text(local_vllm, task):
    """The store holds no tokens."""
    (prompt,) = prompts(1)
    request = Request.judging(prompt, Completion("Three herons.", None), "Is it so?", CHOICES)
    (verdict,) = local_vllm.generate_as(task, request)
    assert verdict.text in CHOICES
    assert verdict.prompt_tokens == len(local_vllm.process._encoder.encode(request.messages))


def test_a_plain_prompt_is_judged_as_plain_text(local_vllm, task):
    messages = (Message(PLAIN, "Herons nested at the pond.\n\nHow many herons nested?"),)
    prompt = replace(prompts(1)[0], messages=messages)
    (answer,) = local_vllm.answer_as(task, prompt)
    assert answer.judgements[0].value in CHOICES


def test_a_conversation_beyond_the_context_has_no_verdict_and_keeps_its_answer(local_vllm, task):
    messages = (Message(PLAIN, " the" * (8192 - ANSWER_TOKENS - 1)),)
    (answer,) = local_vllm.answer_as(task, replace(prompts(1)[0], messages=messages))
    assert answer.completion.completion_tokens == ANSWER_TOKENS
    assert (answer.judgements, answer.judging.unjudged) == ((), 1)


@pytest.mark.parametrize("choices", [("not stated", "no", "yes"), ("one", "one two", "three")])
def test_choices_that_begin_alike_are_told_apart(local_vllm, task, choices):
    judged = task.model_copy(update={"judge": JudgeConfig(choices=list(choices))})
    for answer in answered(local_vllm, judged, 4):
        assert answer.judgements[0].value in choices
        assert answer.judging.judge_completion_tokens <= deciding_tokens(choices)


@pytest.mark.parametrize(
    ("choices", "tokens"),
    [
        (CHOICES, 1),
        (("no", "not stated"), 3),
        (("unclear", "unknown"), 3),
        (("ä", "ö"), 2),
    ],
)
def test_the_decoder_ends_with_the_token_that_tells_choices_apart(choices, tokens):
    assert deciding_tokens(choices) == tokens
