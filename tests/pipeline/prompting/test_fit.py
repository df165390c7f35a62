"""Prompts that fit their model's context, and those that do not."""

import pytest

from pipeline.config.schema import Answer, Job
from pipeline.core.records import PLAIN, Fault, Message, Passage, Record
from pipeline.engines.token_budget import TokenBudget
from pipeline.prompting.fit import fitting
from pipeline.prompting.template import load_prompt
from tests.support.jobs import BETTER_PROMPT, record, vllm_job

SOURCE = load_prompt(BETTER_PROMPT, Answer(max_words=30))
CONTEXT = 2000


def a_job(model, overflow: str = "reject", **sections):
    sections.setdefault("answer", {"max_words": 30})
    return vllm_job(
        model,
        options={"max_model_len": CONTEXT},
        input={"uri": "shards", "overflow": overflow},
        **sections,
    )


def with_passages(number: int) -> Record:
    """About 160 tokens of the test's model each."""
    return record(
        passages=tuple(Passage(f"{n}. " + "We counted herons. " * 20) for n in range(number))
    )


def test_a_prompt_that_fits_is_left_as_it_is(tiny_model):
    short = with_passages(2)
    for overflow in ("reject", "drop_passages"):
        fitted, _ = fitting(a_job(tiny_model, overflow))(short, SOURCE)
        assert fitted == short


def test_the_fault_of_a_prompt_that_is_too_long_has_both_numbers(tiny_model):
    with pytest.raises(Fault, match=r"the prompt has [\d,]+ tokens; a context of 2,000 leaves 1,9"):
        fitting(a_job(tiny_model))(with_passages(30), SOURCE)


def test_the_last_passages_are_dropped_but_no_more_than_needed(tiny_model):
    job = a_job(tiny_model, "drop_passages")
    fitted, (messages, _) = fitting(job)(with_passages(30), SOURCE)
    remaining = len(fitted.passages)
    assert 0 < remaining < 30
    assert [p.text.split(".")[0] for p in fitted.passages] == [str(n) for n in range(remaining)]
    assert fitted.repairs == (f"dropped_passages:{30 - remaining}",)
    assert all(p.text.strip() in messages[-1].content for p in fitted.passages)
    budget = TokenBudget.of(job)
    budget.check(messages)
    with pytest.raises(Fault):
        fitting(a_job(tiny_model))(with_passages(remaining + 1), SOURCE)


def test_a_single_passage_that_is_too_long_is_rejected(tiny_model):
    one = record(passages=(Passage("We counted herons. " * 800),))
    with pytest.raises(Fault) as caught:
        fitting(a_job(tiny_model, "drop_passages"))(one, SOURCE)
    assert caught.value.reason == "too_long"


def test_a_ready_prompt_has_no_passages_to_drop(tiny_model):
    ready = record(messages=(Message(PLAIN, "We counted herons. " * 800),))
    with pytest.raises(Fault, match="tokens; a context of"):
        fitting(a_job(tiny_model, "drop_passages"))(
            ready, load_prompt("verbatim", Answer(max_words=30))
        )


def test_the_answer_needs_less_where_the_job_allows_less(tiny_model):
    budget = TokenBudget.of(a_job(tiny_model, sampling={"max_tokens": 20}))
    assert budget.answer == 20
    assert TokenBudget.of(a_job(tiny_model, sampling={"max_tokens": 9000})).answer == 56


def test_a_prompt_of_few_bytes_is_never_tokenized(tiny_model):
    budget = TokenBudget.of(a_job("/nowhere/model"))
    budget.check((Message("user", "x" * 1000),))


def test_a_chat_that_the_template_refuses_is_a_fault(tmp_path):
    from tests.support.models import CHAT_TEMPLATE, NO_SYSTEM, make_model

    make_model(tmp_path, chat_template=NO_SYSTEM + CHAT_TEMPLATE)
    long = (Message("system", "x"), Message("user", "We counted herons. " * 500))
    with pytest.raises(Fault, match="chat template refuses"):
        TokenBudget.of(a_job(tmp_path)).check(long)


def test_without_a_tokenizer_no_prompt_is_too_long():
    from tests.support.jobs import job

    endless = with_passages(300)
    assert fitting(job("shards", "store"))(endless, SOURCE)[0] == endless


def thinking(tiny_model, **sampling) -> Job:
    """A job whose model is taken for one that thinks."""
    job = a_job(tiny_model, sampling=sampling)
    return job.model_copy(
        update={"engine": job.engine.model_copy(update={"reasoning": "deepseek_r1"})}
    )


@pytest.mark.parametrize(
    ("sampling", "room"),
    [
        ({"thinking_token_budget": 200}, 56 + 200),
        ({"thinking_token_budget": 200, "max_tokens": 100}, 56 + 44),
        ({"thinking_token_budget": 200, "max_tokens": 40}, 40),
        ({}, 56),  # how long it thinks is not known
    ],
)
def test_a_thought_needs_room_too(sampling, room, tiny_model):
    assert TokenBudget.of(thinking(tiny_model, **sampling)).answer == room
