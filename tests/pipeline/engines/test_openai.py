"""Endpoints of OpenAI's protocol: vLLM's own server, and a proxy that makes it fail."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest
from aiohttp import web

from pipeline.cluster.reporter import Reporter
from pipeline.config.schema import Job
from pipeline.core.errors import ConfigError, EngineError
from pipeline.core.records import PLAIN, Completion, Message, Prompt
from pipeline.engines import check_endpoint, check_engine, settings_of
from pipeline.engines.engine import GenerationError, Request
from pipeline.formats import format_of
from tests.conftest import OPENAI_KEY
from tests.support.jobs import free_port, job, record, rows, run, stored, write_jsonl
from tests.support.proxy import Fault, Proxy
from tests.support.scripted import completion, endpoint

CHAT = (Message("system", "Be brief."), Message("user", "How many herons nested at the pond?"))
TEXT = (Message(PLAIN, "Herons nested at the pond.\n\nHow many herons nested?"),)


@pytest.fixture
def proxy(vllm_server) -> Iterator[Proxy]:
    proxy = Proxy(vllm_server.url).start()
    yield proxy
    proxy.close()


def endpoint_job(url: str, uri="shards", store="store", **sections) -> Job:
    options = {"base_url": f"{url}/v1", "max_retries": 3, **sections.pop("options", {})}
    engine = {"kind": "openai", "model": "tiny", "options": options}
    sampling = {"max_tokens": 10, **sections.pop("sampling", {})}
    return job(uri, store, 50, engine=engine, sampling=sampling, failure_budget=1.0, **sections)


def request(messages: tuple[Message, ...] = CHAT, **fields) -> Request:
    return replace(Request.first(Prompt(record(), messages, "", "", "")), **fields)


def generate(job_: Job, *requests: Request) -> list[Completion | BaseException]:
    from pipeline.engines.openai import OpenAIEngine

    async def go() -> list[Completion | BaseException]:
        engine = OpenAIEngine(job_, Reporter().pacer)
        return await asyncio.gather(*map(engine.generate, requests), return_exceptions=True)

    return asyncio.run(go())


def test_an_answer_comes_with_its_counts_and_finish_reason(vllm_server):
    to_the_limit = endpoint_job(vllm_server.url, sampling={"min_tokens": 10})
    (completion,) = generate(to_the_limit, request())
    assert completion.text
    assert (completion.finish_reason, completion.completion_tokens) == ("length", 10)
    assert completion.prompt_tokens > 10
    assert completion.seconds > 0


def test_a_chat_goes_through_the_endpoints_template_and_a_plain_prompt_does_not(vllm_server):
    words = "How many herons nested at the pond?"
    chat, plain = (Message("user", words),), (Message(PLAIN, words),)
    templated, literal = generate(endpoint_job(vllm_server.url), request(chat), request(plain))
    special = len(["<s>", "<|user|>", "</s>", "<|assistant|>"])
    assert templated.prompt_tokens == literal.prompt_tokens + special


def test_sampling_parameters_that_only_vllm_has_reach_its_server(vllm_server):
    sampling = {"max_tokens": 30, "min_tokens": 30, "top_k": 5}
    completions = generate(endpoint_job(vllm_server.url, sampling=sampling), *[request()] * 5)
    assert [c.completion_tokens for c in completions] == [30] * 5


def test_an_enforced_schema_holds_on_an_endpoint(vllm_server):
    lamp = {"enum": ["amber", "white"]}
    schema = {
        "type": "object",
        "properties": {"lamp": lamp, "lit": {"type": "boolean"}},
        "required": ["lamp", "lit"],
        "additionalProperties": False,
    }
    answer = {"schema": schema, "decoding": "enforced"}
    task = endpoint_job(vllm_server.url, answer=answer, sampling={"max_tokens": 200})
    check_engine(task)
    format_ = format_of(task.answer)
    finished = [c for c in generate(task, *[request()] * 4) if c.finish_reason == "stop"]
    assert finished
    assert [format_.fault(completion.text) for completion in finished] == [None] * len(finished)


def test_a_retry_for_length_doubles_the_token_limit(vllm_server):
    (completion,) = generate(endpoint_job(vllm_server.url), request(lengthened=2))
    assert completion.completion_tokens <= 40
    assert completion.finish_reason in ("stop", "length")


def test_no_more_requests_are_open_than_allowed(proxy):
    completions = generate(endpoint_job(proxy.url, options={"concurrency": 5}), *[request()] * 30)
    assert all(isinstance(c, Completion) for c in completions)
    assert 1 < proxy.most_concurrent <= 5


def test_after_a_rate_limit_the_client_waits_as_long_as_retry_after_says(proxy):
    refused: list[float] = []

    async def once(_: web.Request, body: bytes) -> web.Response | None:
        if refused:
            return None
        refused.append(time.monotonic())
        return web.json_response({"error": {}}, status=429, headers={"Retry-After": "2"})

    proxy.fault = once
    (completion,) = generate(endpoint_job(proxy.url), request())
    assert isinstance(completion, Completion)
    assert time.monotonic() - refused[0] >= 2


@pytest.mark.parametrize("status", [500, 502, 503])
def test_server_errors_are_retried(proxy, status):
    codes = [status] * 3

    async def some(_: web.Request, body: bytes) -> web.Response | None:
        return web.Response(status=codes.pop()) if codes else None

    proxy.fault = some
    (completion,) = generate(endpoint_job(proxy.url), request())
    assert isinstance(completion, Completion)
    assert len(proxy.bodies) == 4


def test_a_request_that_hangs_is_retried(proxy):
    hung: list[bytes] = []

    async def once(_: web.Request, body: bytes) -> None:
        if not hung:
            hung.append(body)
            await asyncio.sleep(30)

    proxy.fault = once
    (completion,) = generate(endpoint_job(proxy.url, options={"timeout": 2}), request())
    assert isinstance(completion, Completion)


def test_a_lost_connection_is_retried(proxy):
    broken: list[bytes] = []

    async def once(request: web.Request, body: bytes) -> None:
        if not broken:
            broken.append(body)
            request.transport.abort()

    proxy.fault = once
    (completion,) = generate(endpoint_job(proxy.url), request())
    assert isinstance(completion, Completion)


def test_a_prompt_that_the_endpoint_refuses_fails_alone(vllm_server):
    long = (Message("user", " the" * 9000),)
    refused, completion = generate(endpoint_job(vllm_server.url), request(long), request())
    assert isinstance(refused, GenerationError)
    assert "400" in str(refused)
    assert isinstance(completion, Completion)


def test_a_record_that_breaks_the_server_while_others_are_answered_fails_alone(proxy):
    async def on_poison(_: web.Request, body: bytes) -> web.Response | None:
        return web.Response(status=500) if b"poison" in body else None

    proxy.fault = on_poison
    poison = (Message("user", "poison"),)
    job_ = endpoint_job(proxy.url, options={"max_retries": 3})
    broken, *completions = generate(job_, request(poison), *[request()] * 3)
    assert isinstance(broken, GenerationError)
    assert all(isinstance(c, Completion) for c in completions)


def test_an_endpoint_that_is_down_ends_the_job_and_fails_no_record():
    nowhere = endpoint_job(f"http://127.0.0.1:{free_port()}", options={"max_retries": 1})
    (lost,) = generate(nowhere, request())
    assert isinstance(lost, EngineError)
    assert "Connection error" in str(lost)


def test_a_rate_limit_fails_no_record_however_often_it_refuses(proxy):
    left = [429, 503] * 10

    async def often(_: web.Request, body: bytes) -> web.Response | None:
        headers = {"Retry-After": "0.01"}
        return web.json_response({}, status=left.pop(), headers=headers) if left else None

    proxy.fault = often
    completions = generate(endpoint_job(proxy.url), request(), request())
    assert all(isinstance(c, Completion) for c in completions)
    assert len(proxy.bodies) == 22


def refusing(code: str, message: str = "no") -> Fault:
    async def always(_: web.Request, body: bytes) -> web.Response:
        error = {"message": message, "type": "tokens", "code": code}
        return web.json_response({"error": error}, status=429, headers={"Retry-After": "1"})

    return always


def test_a_quota_that_is_spent_is_no_rate_limit_and_ends_the_job():
    with endpoint(refusing("insufficient_quota")) as url:
        (lost,) = generate(endpoint_job(url), request())
    assert isinstance(lost, EngineError)
    assert "no rate limit" in str(lost)


def test_a_request_that_is_above_the_limit_on_its_own_fails_alone():
    large = refusing("rate_limit_exceeded", "Request too large for m on tokens per min (TPM)")
    with endpoint(large) as url:
        (refused,) = generate(endpoint_job(url), request())
    assert isinstance(refused, GenerationError)
    assert "Request too large" in str(refused)


def several(*urls: str, **options) -> Job:
    return endpoint_job("http://none", options={"base_url": [f"{u}/v1" for u in urls], **options})


def test_several_endpoints_share_the_requests():
    asked: Counter[str] = Counter()

    def counting(name: str) -> Fault:
        async def answer(_: web.Request, body: bytes) -> web.Response:
            asked[name] += 1
            await asyncio.sleep(0.1)
            return completion(body, "Herons.")

        return answer

    with endpoint(counting("one")) as one, endpoint(counting("other")) as other:
        completions = generate(several(one, other), *[request()] * 40)
    assert all(isinstance(c, Completion) for c in completions)
    assert 15 <= asked["one"] <= 25
    assert asked.total() == 40


def test_a_dead_endpoint_is_left_out_and_none_of_its_requests_is_lost(vllm_server):
    dead = f"http://127.0.0.1:{free_port()}"
    job_ = several(dead, vllm_server.url, max_retries=0)
    completions = generate(job_, *[request()] * 20)
    assert all(isinstance(c, Completion) for c in completions)


def test_an_endpoint_that_dies_at_work_leaves_it_to_the_other(vllm_server):
    async def dying(asked: web.Request, body: bytes) -> web.Response:
        if len(answered) == 5 and asked.transport:
            asked.transport.abort()
        else:
            answered.append(body)
        return completion(body, "Herons.")

    answered: list[bytes] = []
    with endpoint(dying) as dies:
        completions = generate(several(dies, vllm_server.url), *[request()] * 40)
    assert all(isinstance(c, Completion) for c in completions)
    assert len(answered) == 5


def test_an_endpoint_without_quota_leaves_the_work_to_the_other(vllm_server):
    with endpoint(refusing("insufficient_quota")) as spent:
        completions = generate(several(spent, vllm_server.url), *[request()] * 4)
    assert all(isinstance(c, Completion) for c in completions)


def test_the_job_ends_when_all_endpoints_are_down():
    job_ = several(*(f"http://127.0.0.1:{free_port()}" for _ in range(2)), max_retries=0)
    (lost,) = generate(job_, request())
    assert isinstance(lost, EngineError)
    assert "Connection error" in str(lost)


def test_each_endpoint_is_asked_for_the_model(vllm_server):
    job_ = several(vllm_server.url, f"http://127.0.0.1:{free_port()}", max_retries=0)
    assert "has tiny" in check_endpoint(endpoint_job(vllm_server.url))
    with pytest.raises(EngineError, match="Connection error"):
        check_endpoint(job_)


def test_of_a_model_that_an_endpoint_lacks_the_nearest_is_named(vllm_server):
    job_ = endpoint_job(vllm_server.url)
    engine = job_.engine.model_copy(update={"model": "tinier"})
    with pytest.raises(EngineError, match=r"tinier is not at .*did you mean 'tiny'\?"):
        check_endpoint(job_.model_copy(update={"engine": engine}))


@pytest.mark.parametrize("options", [{}, {"generation_options": ["base_url"]}])
def test_a_list_of_one_endpoint_equals_its_address(options):
    one = endpoint_job("http://host")
    named, listed = (
        one.model_copy(update={"engine": one.engine.model_copy(update={**options, "options": o})})
        for o in ({"base_url": "http://host/v1"}, {"base_url": ["http://host/v1"]})
    )
    assert settings_of(named) == settings_of(listed)


def test_a_wrong_key_ends_the_job(vllm_server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "another")
    (lost,) = generate(endpoint_job(vllm_server.url), request())
    assert isinstance(lost, EngineError)
    assert "401" in str(lost)
    assert "another" not in str(lost)
    with pytest.raises(EngineError, match="401"):
        check_endpoint(endpoint_job(vllm_server.url))


def test_openai_without_a_key_is_an_error_before_any_request(monkeypatch):
    from pipeline.engines.openai import OpenAIEngine

    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(EngineError, match="OPENAI_API_KEY is not set"):
        OpenAIEngine(job("shards", "store", engine={"kind": "openai", "model": "m"}))


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"options": {"base_ur": "x"}}, "base_ur: no option of the openai engine; did you mean"),
        ({"options": {"base_url": []}}, "engine.options.base_url"),
        ({"options": {"timeout": -1}}, "engine.options.timeout: Input should be greater than 0"),
        ({"answer": {"decoding": "enforced"}}, "answer.decoding: enforced needs engine.kind vllm"),
        ({"input": {"uri": "x", "overflow": "drop_passages"}}, "input.overflow: drop_passages"),
    ],
)
def test_what_an_endpoint_cannot_do_is_an_error_before_anything_starts(sections, message):
    with pytest.raises(ConfigError, match=message):
        check_engine(endpoint_job("http://host", **sections))


def test_a_whole_run_on_an_endpoint_stores_no_key(vllm_server, tmp_path):
    write_jsonl(tmp_path / "shards/a.jsonl", rows(range(40)))
    job_ = endpoint_job(
        vllm_server.url,
        tmp_path / "shards",
        tmp_path / "store",
        checks={"complete": "off", "empty": "off"},
    )
    document = run(job_)
    assert document["counts"]["read"] == 40
    answers = stored(tmp_path / "store").to_pylist()
    assert {row["engine"] for row in answers} == {"openai"}
    assert all(row["prompt_tokens"] > 0 for row in answers)
    assert len(answers) == 40
    assert OPENAI_KEY not in json.dumps(document) + json.dumps(answers, default=str)
    assert run(job_)["counts"]["current"] == 40
