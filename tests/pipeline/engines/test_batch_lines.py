"""Settings of lines of batch files: in the key, in the store, and in what the engines are sent."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.answering.loop import AnsweringLoop
from pipeline.cluster.in_process import InProcess
from pipeline.config.schema import Job, Sampling
from pipeline.core.records import BatchLine, Completion, Fault, Message, Prompt, Record
from pipeline.engines import generation_identity
from pipeline.engines.batch_lines import line_check, model_names
from pipeline.engines.engine import Request
from pipeline.engines.token_budget import TokenBudget, token_limit
from pipeline.engines.tokenizer import PromptEncoder
from pipeline.prompting.keys import prompt_and_generation_key
from pipeline.runs.recheck import recheck_store
from tests.support.jobs import counts, ignore, job, plan, record, run, stored, vllm_job, write_jsonl

CHAT = (Message("user", "Which lamp do the keepers fear?"),)
JSON = {"type": "json_object"}

values = st.fixed_dictionaries(
    {},
    optional={
        "temperature": st.sampled_from([0.0, 0.5, 1.0]),
        "top_p": st.sampled_from([0.5, 1.0]),
        "max_tokens": st.integers(1, 3),
        "seed": st.integers(0, 2),
        "stop": st.sampled_from([["a"], ["a", "b"]]),
        "presence_penalty": st.sampled_from([0.0, 1.0]),
        "response_format": st.just(JSON),
    },
)


def line(**sampling: Any) -> Record:
    return record(messages=CHAT, question=None, passages=(), batch=BatchLine(None, sampling))


def key(job_: Job, record_: Record) -> str:
    return prompt_and_generation_key(CHAT, generation_identity(job_)(record_))[1]


def plain(**sampling: Any) -> Job:
    return vllm_job("model", sampling=sampling)


@settings(max_examples=200, deadline=None)
@given(values, values)
def test_keys_differ_where_settings_do_and_nowhere_else(one: Any, other: Any) -> None:
    keys = key(plain(), line(**one)), key(plain(), line(**other))
    assert (keys[0] == keys[1]) == (one == other)


@settings(max_examples=100, deadline=None)
@given(values)
def test_settings_that_are_the_jobs_give_the_key_of_the_job(given_: dict[str, Any]) -> None:
    of_job = {name: value for name, value in given_.items() if name in Sampling.model_fields}
    without = record(messages=CHAT)
    assert key(plain(**of_job), line(**of_job)) == key(plain(**of_job), without)
    assert key(plain(**of_job), line()) == key(plain(**of_job), without)


def request(record_: Record, **fields: Any) -> Request:
    return replace(Request.first(Prompt(record_, CHAT, "", "", "")), **fields)


@settings(max_examples=100, deadline=None)
@given(values, values.map(lambda v: {k: x for k, x in v.items() if k != "response_format"}))
def test_vllm_gets_a_lines_settings_over_those_of_the_job(own: Any, of_job: Any) -> None:
    from vllm import SamplingParams

    from pipeline.engines.vllm_requests import sampling_params

    job_, expected = plain(**of_job), {"min_p": 0.25, **of_job, **own}
    is_json = expected.pop("response_format", None) is not None
    asked = request(line(**own))
    limit = token_limit(job_.answer, job_.sampling, asked, 8000)
    params = sampling_params(job_, asked, limit, None, None, {"min_p": 0.25})
    structure = params.structured_outputs
    assert (structure is not None and structure.json_object) == is_json
    direct = SamplingParams(**{"max_tokens": 399 * 4 + 64, **expected})
    for name in ("min_p", "max_tokens", *expected):
        assert getattr(params, name) == getattr(direct, name)


def test_vllm_enforces_the_schema_of_a_line() -> None:
    from pipeline.engines.vllm_requests import sampling_params

    schema = {"type": "object", "properties": {"lamp": {"type": "string"}}}
    shape = {"type": "json_schema", "json_schema": {"name": "lamp", "schema": schema}}
    job_ = plain()
    asked = request(line(response_format=shape))
    params = sampling_params(job_, asked, 10, None, None, {})
    assert params.structured_outputs.json == schema


def sent_to_an_endpoint(record_: Record, **sampling: Any) -> dict[str, Any]:
    """The body of the request that an endpoint would get."""
    from pipeline.engines.openai import OpenAIEngine

    bodies: list[dict[str, Any]] = []
    engine = OpenAIEngine(endpoint(sampling=sampling))

    async def create(**options: Any) -> Any:
        extra = options.pop("extra_body")
        bodies.append({**options, **extra})
        raise RuntimeError

    (client,) = engine._clients.values()
    client.chat.completions.with_raw_response.create = create
    with pytest.raises(RuntimeError):
        asyncio.run(engine.generate(request(record_)))
    return bodies[0]


def endpoint(model: str = "m", **sections: Any) -> Job:
    engine = {"kind": "openai", "model": model, "options": {"base_url": "http://host/v1"}}
    return job("shards", "store", engine=engine, **sections)


@settings(max_examples=30, deadline=None)
@given(values, values.map(lambda v: {k: x for k, x in v.items() if k != "response_format"}))
def test_an_endpoint_gets_a_lines_settings_over_those_of_the_job(own: Any, of_job: Any) -> None:
    body = sent_to_an_endpoint(line(**own), **of_job)
    assert {k: v for k, v in body.items() if k not in ("model", "messages")} == {**of_job, **own}


# A line's limit is a cap.


def test_no_repair_passes_the_limit_of_a_line() -> None:
    for lengthened in range(4):
        asked = request(line(max_tokens=5), lengthened=lengthened)
        assert token_limit(plain().answer, Sampling(max_tokens=100), asked, 8000) == 5


class CutOff:
    """An engine whose every answer ends at the token limit."""

    kind, version = "cut off", "1"

    async def generate(self, request: Request) -> Completion:
        return Completion("Answer:::\nThe white\nAnswer:::", "length", completion_tokens=5)


@pytest.mark.parametrize(("sampling", "attempts"), [({"max_tokens": 5}, 1), ({"seed": 1}, 3)])
def test_an_answer_cut_off_by_its_own_limit_is_not_generated_again(
    sampling: dict[str, Any], attempts: int
) -> None:
    from pipeline.answering.checks import chosen_checks
    from pipeline.answering.evaluate import Evaluator

    loop = AnsweringLoop(CutOff(), Evaluator(chosen_checks({}), 399), 3)
    answered = asyncio.run(loop.answer(Prompt(line(**sampling), CHAT, "", "", "")))
    assert answered.status == "failed"
    assert len(answered.attempts) == attempts


def test_a_prompt_beside_a_small_limit_has_more_room() -> None:
    from pipeline.engines.model_files import ModelSpec

    budget = TokenBudget(ModelSpec("none"), context=1600, answer=700)
    budget.check((Message("user", "x" * 1000),), most=5)
    with pytest.raises(Exception, match="none"):  # only now is a tokenizer needed
        budget.check((Message("user", "x" * 1000),))


# What a job cannot do.


def refused(job_: Job, record_: Record) -> str | None:
    try:
        line_check(job_)(record_)
    except Fault as fault:
        return f"{fault.reason}: {fault.detail}"
    return None


@pytest.mark.parametrize(
    ("model", "names"),
    [
        ("small", {"small"}),
        ("org/small", {"org/small", "small"}),
        ("s3://models/org/small", {"s3://models/org/small", "small"}),
        ("/models/small/", {"/models/small/", "small"}),
    ],
)
def test_a_line_may_call_the_model_by_its_name_or_the_last_part_of_it(
    model: str, names: set[str]
) -> None:
    job_ = vllm_job(model)
    assert model_names(job_) == names
    for name in names:
        assert refused(job_, replace(line(), batch=BatchLine(name))) is None
    other = refused(job_, replace(line(), batch=BatchLine("large")))
    assert other == f"unsupported: body.model: large; this job's model is {model}"


def test_a_line_may_call_the_model_as_vllm_serves_it() -> None:
    for served in ("night", ["night", "day"]):
        job_ = vllm_job("small", options={"served_model_name": served})
        assert refused(job_, replace(line(), batch=BatchLine("night"))) is None


@pytest.mark.parametrize("kind", ["recorded", "extractive"])
def test_a_job_without_a_model_takes_lines_for_any(kind: str) -> None:
    job_ = job("shards", "store", engine={"kind": kind})
    assert refused(job_, replace(line(), batch=BatchLine("large"))) is None


def test_json_is_refused_where_nothing_can_write_it() -> None:
    extractive = job("shards", "store", engine={"kind": "extractive"})
    enforced = vllm_job("model", answer={"decoding": "enforced"})
    for job_ in (extractive, enforced):
        assert (refused(job_, line(response_format=JSON)) or "").startswith(
            "unsupported: body.resp"
        )
    assert refused(plain(), line(response_format=JSON)) is None


def test_an_answer_without_its_question_is_checked_and_never_generated() -> None:
    alone = record(messages=(), question=None, passages=(), recorded_answer="A.", batch=BatchLine())
    assert (refused(plain(), alone) or "").startswith("missing_field: an answer without")
    assert refused(job("shards", "store", engine={"kind": "recorded"}), alone) is None


class Tokenizer:
    def __init__(self, chat_template: str) -> None:
        self.chat_template = chat_template

    def apply_chat_template(self, messages: list[dict[str, str]], **_: Any) -> str:
        return " ".join(message["role"] for message in messages)

    def encode(self, text: str, **_: Any) -> list[str]:
        return text.split()


@pytest.mark.parametrize(
    ("template", "role"), [("{{ messages }}", "system"), ("{{ 'developer' }}", "developer")]
)
def test_developers_speak_as_the_system_where_the_template_knows_no_developer(
    template: str, role: str
) -> None:
    messages = (Message("developer", "Be brief."), *CHAT)
    assert PromptEncoder(Tokenizer(template)).encode(messages) == [role, "user"]


# Whole runs.


def requests(*bodies: dict[str, Any]) -> list[dict[str, Any]]:
    chat = {"messages": [CHAT[0]._asdict()]}
    return [
        {"custom_id": f"b-{n}", "url": "/v1/chat/completions", "body": {**chat, **body}}
        for n, body in enumerate(bodies)
    ]


def test_a_run_stores_what_each_line_asked_for_and_rejects_what_it_cannot_do(
    tmp_path: Path,
) -> None:
    lines = requests({}, {"temperature": 0}, {"seed": 7}, {"n": 2}, {"model": "large"})
    write_jsonl(tmp_path / "in/requests.jsonl", lines)
    job_ = job(
        tmp_path / "in", tmp_path / "store", prompt="verbatim", sampling={"temperature": 0.5},
        engine={"kind": "extractive", "model": "small"}, failure_budget=1.0,
    )  # fmt: skip
    document = run(job_)
    assert document["counts"]["rejected"] == 2
    rows = {row["record_id"]: row for row in stored(tmp_path / "store").to_pylist()}
    sampling = {name: orjson.loads(row["sampling"]) for name, row in rows.items()}
    assert {name: s.get("temperature") for name, s in sampling.items()} == {
        "b-0": 0.5,
        "b-1": 0.0,
        "b-2": 0.5,
    }
    assert sampling["b-2"]["seed"] == 7
    assert len({row["generation_key"] for row in rows.values()}) == 3
    rejects = stored(tmp_path / "store", "rejects").to_pylist()
    assert {row["record_id"]: row["reason"] for row in rejects} == dict.fromkeys(
        ("b-3", "b-4"), "unsupported"
    )
    assert counts(run(job_)) == {"read": 5, "current": 3, "rejected": 2}
    lines[2]["body"]["seed"] = 8
    write_jsonl(tmp_path / "in/requests.jsonl", lines)
    (cause,) = plan(job_).records
    assert cause.changes == ("sampling",)


def output(custom_id: str, content: str, reason: str) -> dict[str, Any]:
    choice = {"message": {"role": "assistant", "content": content}, "finish_reason": reason}
    usage = {"prompt_tokens": 11, "completion_tokens": 3}
    body = {"choices": [choice], "usage": usage}
    answer = {"status_code": 200, "body": body}
    return {
        "id": f"batch_req_{custom_id}",
        "custom_id": custom_id,
        "response": answer,
        "error": None,
    }


def test_the_output_of_a_batch_is_checked_as_recorded_answers(tmp_path: Path) -> None:
    failed = {"custom_id": "b-3", "response": {"status_code": 500, "body": {}}, "error": None}
    lines = [
        output("b-1", "They fear the white lamp.", "stop"),
        output("b-2", "The", "length"),
        failed,
    ]
    write_jsonl(tmp_path / "in/output.jsonl", lines)
    job_ = job(
        tmp_path / "in", tmp_path / "store", prompt="verbatim", engine={"kind": "recorded"},
        failure_budget=1.0, checks={"format": "off"},
    )  # fmt: skip
    run(job_)
    rows = {row["record_id"]: row for row in stored(tmp_path / "store").to_pylist()}
    assert rows.keys() == {"b-1", "b-2"}
    assert (rows["b-1"]["answer"], rows["b-1"]["status"]) == (
        "They fear the white lamp.",
        "answered",
    )
    assert (rows["b-1"]["prompt_tokens"], rows["b-1"]["completion_tokens"]) == (11, 3)
    assert "complete" in rows["b-2"]["failed_checks"]
    (reject,) = stored(tmp_path / "store", "rejects").to_pylist()
    assert (reject["record_id"], reject["reason"]) == ("b-3", "failed_request")
    assert counts(run(job_))["current"] == 2
    _, rechecked = recheck_store(job_.model_copy(update={"checks": {}}), InProcess(), ignore)
    assert sorted(verdict.record_id for verdict in rechecked.verdicts) == ["b-1", "b-2"]


def test_the_output_of_a_batch_asks_no_model(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "in/output.jsonl", [output("b-1", "They fear the white lamp.", "stop")])
    job_ = job(
        tmp_path / "in", tmp_path / "store", prompt="verbatim", engine={"kind": "extractive"}
    )
    run(job_)
    (reject,) = stored(tmp_path / "store", "rejects").to_pylist()
    assert (reject["record_id"], reject["reason"]) == ("b-1", "missing_field")
