"""vLLM itself without a cluster around it: the CPU build with a random model."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.answering.checks import chosen_checks, run_checks
from pipeline.answering.checks.base import Subject
from pipeline.config.schema import Job
from pipeline.core.errors import ConfigError, EngineError
from pipeline.core.records import PLAIN, Ask, BatchLine, Completion, Message, Prompt
from pipeline.engines import check_engine, generation_identity
from pipeline.engines.engine import GenerationError, Request
from pipeline.engines.model_files import ModelSpec
from pipeline.engines.supervisor import EngineDied
from pipeline.engines.token_budget import thought_limit, token_limit
from pipeline.engines.vllm_options import option_names
from pipeline.engines.vllm_processes import LOGGING
from pipeline.engines.watchdog import MARK
from pipeline.formats.extract import extract_answer
from tests.support.jobs import record, vllm_job
from tests.support.models import NO_SYSTEM, make_model

CHAT = (Message("system", "Be brief."), Message("user", "How many herons nested at the pond?"))
TEXT = (Message(PLAIN, "Herons nested at the pond.\n\nHow many herons nested?"),)


def request(messages: tuple[Message, ...] = CHAT, **fields) -> Request:
    return replace(Request.first(Prompt(record(), messages, "", "", "")), **fields)


def to_the_limit(model: Path) -> Job:
    """A random model ends its turn now and then; under this job it does not."""
    return vllm_job(model, sampling={"ignore_eos": True})


def test_an_answer_comes_with_its_counts_and_finish_reason(local_vllm, tiny_model):
    (completion,) = local_vllm.generate_as(to_the_limit(tiny_model), request(max_tokens=20))
    assert completion.text
    assert (completion.finish_reason, completion.completion_tokens) == ("length", 20)
    assert not completion.context_full
    assert completion.seconds > 0


def test_what_starts_beside_an_engine_knows_nothing_of_it(local_vllm):
    """A cluster that this process starts later would log its engines' errors to this one's."""
    assert not {MARK, LOGGING, "VLLM_RPC_BASE_PATH"} & os.environ.keys()


def test_a_prompt_comes_from_the_prefix_cache_the_second_time(local_vllm):
    long = (Message("user", "How many herons nested at the pond in spring? " * 20),)
    (first,) = local_vllm.generate(request(long, max_tokens=2))
    (second,) = local_vllm.generate(request(long, max_tokens=2))
    assert first.prompt_tokens == second.prompt_tokens > 128
    # whole blocks, of 16 tokens or as many as the build takes, and never the last token
    assert first.prompt_tokens - 129 <= second.cached_tokens < first.prompt_tokens


def test_many_requests_run_as_one_batch(local_vllm, tiny_model):
    requests = (request(max_tokens=n) for n in range(1, 60))
    completions = local_vllm.generate_as(to_the_limit(tiny_model), *requests)
    assert [s.completion_tokens for s in completions] == list(range(1, 60))


def test_a_chat_goes_through_the_models_template_and_a_plain_prompt_does_not(local_vllm):
    chat, text = local_vllm.generate(request(CHAT, max_tokens=1), request(TEXT, max_tokens=1))
    encoder = local_vllm.process._encoder
    contents = sum(len(encoder.encode((Message(PLAIN, m.content),))) for m in CHAT)
    assert chat.prompt_tokens == contents + len(["<s>", *CHAT, *CHAT, "<|assistant|>"])
    assert text.prompt_tokens == len(encoder.tokenizer.encode(TEXT[0].content))


def of_tokens(number: int) -> tuple[Message, ...]:
    """A plain prompt of `number` tokens."""
    return (Message(PLAIN, " the" * number),)


def test_an_answer_at_the_end_of_the_context_is_cut_off_and_marked(local_vllm, tiny_model):
    asked = request(of_tokens(8192 - 5))
    (completion,) = local_vllm.generate_as(to_the_limit(tiny_model), asked)
    assert completion.prompt_tokens == 8192 - 5
    assert (completion.finish_reason, completion.completion_tokens) == ("length", 5)
    assert completion.context_full


def test_a_conversation_that_outgrows_the_context_fails_alone(local_vllm):
    with pytest.raises(GenerationError, match="9,000 tokens, the context 8,192"):
        local_vllm.generate(request(of_tokens(9000)))
    local_vllm.generate(request(max_tokens=1))


# How an attempt differs from earlier ones.


def test_a_retry_discusses_only_the_latest_answer():
    first = Request.first(Prompt(record(), CHAT, "", "", ""))
    second = first.retry(Completion("Many.", "stop"), (Ask("How many?"), Ask("In a number.")))
    third = second.retry(Completion("A lot.", "stop"), (Ask("A number!"),))
    assert [m.content for m in second.messages[2:]] == ["Many.", "How many? In a number."]
    assert [(m.role, m.content) for m in third.messages[2:]] == [
        ("assistant", "A lot."),
        ("user", "A number!"),
    ]
    assert third.attempt == 2


def sampled(request: Request, limit: int = 10, **sections):
    from pipeline.engines.vllm_requests import sampling_params

    job = vllm_job("model", **sections)
    return sampling_params(job, request, limit, None, None, {"top_p": 0.9})


def test_the_models_sampling_defaults_apply_unless_the_job_sets_others():
    assert sampled(request()).top_p == 0.9
    assert sampled(request(), sampling={"top_p": 0.5}).top_p == 0.5


def test_an_attempt_after_the_first_has_another_seed():
    seeds = [sampled(request(attempt=n), sampling={"seed": 5}).seed for n in range(3)]
    assert seeds == [5, 6, 7]


def test_resampling_at_temperature_0_raises_the_temperature():
    assert sampled(request(), sampling={"temperature": 0}).temperature == 0
    assert sampled(request(resampled=1), sampling={"temperature": 0}).temperature > 0
    assert sampled(request(resampled=1), sampling={"temperature": 0.3}).temperature == 0.3


def limit(room: int = 8000, lengthened: int = 0, **sections) -> int:
    job = vllm_job("model", **sections)
    return token_limit(job.answer, job.sampling, request(lengthened=lengthened), room)


def test_the_token_limit_is_the_jobs_own_and_doubles_after_a_cut_off_answer():
    own = {"sampling": {"max_tokens": 100}}
    assert limit(**own) == 100
    assert limit(lengthened=2, **own) == 400
    assert limit(lengthened=9, **own) == 8000


def test_without_a_limit_in_the_job_there_is_room_for_the_words():
    assert 8000 > limit() > 399 * 4 / 3
    assert limit(room=300) == 300


def test_where_the_decoder_counts_words_the_whole_context_is_the_limit():
    assert limit(answer={"decoding": "enforced"}) == 8000
    assert limit(answer={"decoding": "enforced"}, sampling={"max_tokens": 50}) == 50


def thought(limit: int, **sampling) -> int | None:
    """The limit of a thought, where the whole completion has `limit` tokens."""
    job = vllm_job("model", sampling=sampling, answer={"max_words": 30})  # 56 tokens
    return thought_limit(job.answer, job.sampling, request(), limit, thinks=True)


def test_a_thought_leaves_the_answer_its_room():
    assert thought(8000, thinking_token_budget=500) == 500
    assert thought(300, thinking_token_budget=500, max_tokens=300) == 300 - 56
    assert thought(300, max_tokens=300) == 300 - 56
    assert thought(40, max_tokens=40) == 0
    assert thought(8000) is None


def test_a_model_that_thinks_has_the_whole_context_unless_its_thought_is_limited():
    words = {"answer": {"max_words": 30}}
    free, limited = (
        vllm_job("m", **words),
        vllm_job("m", sampling={"thinking_token_budget": 500}, **words),
    )
    assert token_limit(free.answer, free.sampling, request(), 8000, thinks=True) == 8000
    assert token_limit(limited.answer, limited.sampling, request(), 8000, thinks=True) == 684
    assert token_limit(free.answer, free.sampling, request(), 8000) == 184


def test_parameters_on_tokens_and_repetition_are_obeyed(local_vllm, tiny_model):
    sampling = {
        "logit_bias": {77: 100},
        "repetition_detection": {"max_pattern_size": 2, "min_count": 5},
        "min_tokens": 3,
    }
    (looped,) = local_vllm.generate_as(vllm_job(tiny_model, sampling=sampling), request())
    assert (looped.finish_reason, looped.completion_tokens) == ("repetition", 5)
    only = {"allowed_token_ids": [77], "max_tokens": 9, "stop_token_ids": [78]}
    (few,) = local_vllm.generate_as(vllm_job(tiny_model, sampling=only), request())
    assert few.text == local_vllm.process._encoder.tokenizer.decode([77] * 9)
    (short,) = local_vllm.generate_as(
        vllm_job(tiny_model, sampling={"min_tokens": 50}), request(max_tokens=2)
    )
    assert short.completion_tokens == 2


def test_a_request_that_vllm_refuses_fails_alone(local_vllm, tiny_model):
    beyond = vllm_job(tiny_model, sampling={"stop_token_ids": [10**6]})
    with pytest.raises(GenerationError, match=r"1000000.* out-of-vocab"):
        local_vllm.generate_as(beyond, request())
    local_vllm.generate(request(max_tokens=1))


# Enforced decoding.


@pytest.mark.parametrize("max_words", [1, 7, 60])
def test_enforced_decoding_keeps_format_and_word_limit(local_vllm, tiny_model, max_words):
    job = vllm_job(tiny_model, answer={"decoding": "enforced", "max_words": max_words})
    requests = (request(TEXT if n % 2 else CHAT) for n in range(24))
    completions = local_vllm.generate_as(job, *requests)
    checks = tuple(c for c in chosen_checks({}) if c.name in ("format", "word_count"))
    for completion in completions:
        subject = Subject(completion, extract_answer(completion.text), "", max_words)
        results, _ = run_checks(checks, subject)
        assert [(r.name, r.passed) for r in results] == [("format", True), ("word_count", True)]
        assert completion.finish_reason == "stop"


def test_the_check_complete_finds_an_enforced_answer_that_was_cut_off(local_vllm, tiny_model):
    job = vllm_job(
        tiny_model,
        answer={"decoding": "enforced", "max_words": 300},
        sampling={"max_tokens": 40, "min_tokens": 40},
    )
    (completion,) = local_vllm.generate_as(job, request())
    assert completion.finish_reason == "length"
    (check,) = (c for c in chosen_checks({}) if c.name == "complete")
    (result,), (repair,) = run_checks((check,), Subject(completion, "cut", "", 300))
    assert not result.passed
    assert repair == "more_tokens"


def test_the_word_limit_is_part_of_the_key_under_enforced_decoding_only():
    def identity(decoding: str, max_words: int):
        answer = {"decoding": decoding, "max_words": max_words}
        return generation_identity(vllm_job("model", answer=answer))(record())

    assert identity("enforced", 50) != identity("enforced", 60)
    assert identity("enforced", 50) != identity("free", 50)
    assert identity("free", 50) == identity("free", 60)


# Lines of batch files.


def test_requests_of_one_batch_each_follow_their_own_line(local_vllm):
    schema = {
        "type": "object",
        "properties": {"lamp": {"type": "string", "enum": ["amber", "white"]}},
        "required": ["lamp"],
        "additionalProperties": False,
    }
    shape = {"type": "json_schema", "json_schema": {"name": "lamp", "schema": schema}}
    lines = [
        {"response_format": shape, "max_tokens": 60},
        {"max_tokens": 3, "min_tokens": 3},
        {"response_format": {"type": "json_object"}, "max_tokens": 60},
    ]
    records = [record(batch=BatchLine(None, line)) for line in lines]
    asked = [Request.first(Prompt(r, CHAT, "", "", "")) for r in records]
    by_schema, short, an_object = local_vllm.generate(*asked)
    assert json.loads(by_schema.text)["lamp"] in ("amber", "white")
    assert (short.finish_reason, short.completion_tokens) == ("length", 3)
    assert an_object.text.lstrip().startswith("{")


# Errors before and at the start.


def test_option_names_are_those_of_vllms_engine_arguments():
    from dataclasses import fields

    from vllm.engine.arg_utils import AsyncEngineArgs

    assert option_names() == {field.name for field in fields(AsyncEngineArgs)}


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"options": {"max_num_seq": 4}}, "max_num_seq: no option of vLLM; did you mean 'max_num_"),
        ({"options": {"tensor_parallel_size": 2}}, "set engine.gpus_per_replica"),
        ({"options": {"revision": "main"}}, "set engine.revision"),
        ({"engine": {"model": None}}, "engine.model: missing"),
    ],
)
def test_what_vllm_would_refuse_is_an_error_before_a_model_is_loaded(sections, message):
    with pytest.raises(ConfigError, match=message):
        check_engine(vllm_job("model", **sections))


def test_every_option_reaches_vllm(local_vllm):
    config = local_vllm.process._llm.vllm_config
    assert config.scheduler_config.max_num_seqs == 16
    assert config.scheduler_config.max_num_batched_tokens == 2048
    assert config.model_config.enforce_eager
    assert not config.model_config.trust_remote_code


def open_vllm(job, sample=()):
    from pipeline.engines.vllm import VllmEngine

    return VllmEngine(job, sample)


def test_a_missing_model_is_a_one_line_error(tmp_path):
    with pytest.raises(EngineError, match="no such folder") as caught:
        open_vllm(vllm_job(tmp_path / "none"))
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_model_is_a_one_line_error(tmp_path):
    with pytest.raises(EngineError, match=f"engine.model: .*{tmp_path.name}"):
        open_vllm(vllm_job(tmp_path))


def test_a_chat_that_the_template_refuses_stops_the_job_before_the_model_is_loaded(tmp_path):
    from tests.support.models import CHAT_TEMPLATE

    make_model(tmp_path, chat_template=NO_SYSTEM + CHAT_TEMPLATE)
    with pytest.raises(ConfigError, match=r"system and user messages, .*system is not supported"):
        open_vllm(vllm_job(tmp_path), CHAT)


def test_a_chat_for_a_model_without_a_template_is_encoded_as_plain_text(tmp_path):
    from pipeline.engines.tokenizer import load_encoder

    encoder = load_encoder(ModelSpec(str(make_model(tmp_path, chat_template=""))))
    plain = Message(PLAIN, "\n\n".join(m.content for m in CHAT))
    assert encoder.encode(CHAT) == encoder.encode((plain,))


def test_two_engines_in_turn_leave_no_process_behind(tiny_model):
    """The second has its workers in processes of their own, as an engine of several GPUs has."""
    from pipeline.engines.vllm_processes import descendants
    from tests.support.local_vllm import LocalVllm

    before = descendants()
    engine = LocalVllm(vllm_job(tiny_model, options={"distributed_executor_backend": "mp"}))
    engine.generate(request(max_tokens=1))
    assert len(descendants() - before) == 2
    poison = vllm_job(tiny_model, sampling={"seed": 7})
    with pytest.raises(EngineDied, match="CPU Generator does not use offset"):
        engine.generate_once(poison, request(of_tokens(4000)))
    engine.close()
    assert descendants() - before == set()
