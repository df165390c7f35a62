"""Endpoints that return a thought beside the answer, and what else they want in a request.

An endpoint is acted out: it answers what a test says, and keeps the bodies that it was sent.
"""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from pipeline.answering.evaluate import Evaluator
from pipeline.answering.reasoning import split_text
from pipeline.config.schema import Job
from pipeline.core.errors import ConfigError
from pipeline.core.records import PLAIN, BatchLine, Completion, Message, Prompt, Split
from pipeline.core.thoughts import as_text, split_of
from pipeline.engines import check_engine, generation_identity
from pipeline.engines.engine import GenerationError, Request
from pipeline.engines.recorded import RecordedEngine
from tests.pipeline.engines.test_openai import CHAT, endpoint_job, generate, request
from tests.support.jobs import job, record
from tests.support.proxy import Proxy

TEXT = (Message(PLAIN, "How many herons nested?"),)
PROMPT = Prompt(record(), TEXT, "", "", "")
USAGE = {"prompt_tokens": 9, "completion_tokens": 7, "total_tokens": 16}
COUNTED = {**USAGE, "completion_tokens_details": {"reasoning_tokens": 5}}
SCHEMA = {"name": "count", "schema": {"type": "object"}}
UNSUPPORTED = (
    "Unsupported parameter: 'max_tokens' is not supported with this model. "
    "Use 'max_completion_tokens' instead."
)
TOO_LONG = (
    "'max_tokens' or 'max_completion_tokens' is too large: 9000. The context has 4096 tokens."
)


def chat(content: Any, reason: str = "stop", usage: Any = None, **fields: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": content, **fields}
    choice = {"index": 0, "message": message, "finish_reason": reason}
    return {"id": "c", "object": "chat.completion", "choices": [choice], "usage": usage or USAGE}


@contextmanager
def endpoint(*answers: Any) -> Iterator[Proxy]:
    """Answers each request with the next of some answers, and then with the last again; a text is
    the message of a refusal.
    """
    left = list(answers)

    async def answer(_: web.Request, body: bytes) -> web.Response:
        said = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(said, str):
            return web.json_response({"error": {"message": said, "code": "x"}}, status=400)
        return web.json_response(said)

    proxy = Proxy("http://nowhere", answer).start()
    yield proxy
    proxy.close()


def completion(answer: dict[str, Any], **sections: Any) -> Completion:
    with endpoint(answer) as server:
        (said,) = generate(endpoint_job(server.url, **sections), request())
    assert isinstance(said, Completion)
    return said


def bodies(server: Proxy) -> list[dict[str, Any]]:
    return [json.loads(body) for body in server.bodies]


def sent(*requests: Request, **sections: Any) -> list[dict[str, Any]]:
    """The bodies of requests to an endpoint that answers them all."""
    plain = {"choices": [{"index": 0, "text": "Six.", "finish_reason": "stop"}], "usage": USAGE}
    with endpoint(plain if requests[0].messages == TEXT else chat("Six.")) as server:
        generate(endpoint_job(server.url, **sections), *requests)
        return bodies(server)


@pytest.mark.parametrize(
    "answer",
    [
        chat("Six.", reasoning_content="Five and one."),
        chat("Six.", reasoning="Five and one."),
        chat("Six.", reasoning="Five and one.", reasoning_content="Five and one."),
        chat("\n\nSix.", reasoning="\nFive and one.\n"),
        chat(
            [
                {"type": "thinking", "thinking": [{"type": "text", "text": "Five and one."}]},
                {"type": "text", "text": "Six."},
            ]
        ),
    ],
)
def test_a_thought_beside_the_answer_is_reasoning_and_the_text_keeps_every_word(answer):
    said = completion(answer)
    assert said.split == Split("Five and one.", "Six.") == split_text(said.text)


def test_reasoning_tokens_are_those_that_the_endpoint_counts():
    assert completion(chat("Six.", usage=COUNTED, reasoning="Hm.")).reasoning_tokens == 5
    assert completion(chat("Six.", reasoning="Hm.")).reasoning_tokens == 0


@pytest.mark.parametrize("content", ["", None, " \n"])
def test_a_thought_that_the_token_limit_ends_is_open_and_one_that_the_model_ends_is_not(content):
    cut = completion(chat(content, "length", reasoning="Five and"))
    assert cut.split == Split("Five and", "", is_closed=False) == split_text(cut.text)
    ended = completion(chat(content, "stop", reasoning="Five and one."))
    assert ended.split == Split("Five and one.", "") == split_text(ended.text)


@pytest.mark.parametrize("fields", [{}, {"reasoning": None}, {"reasoning_content": ""}])
def test_an_answer_without_a_thought_is_left_to_the_rules_for_texts(fields):
    said = completion(chat("<think>Five.</think>Six.", **fields))
    assert (said.text, said.split) == ("<think>Five.</think>Six.", None)
    assert Evaluator.of(endpoint_job("http://host")).evaluate(said, PROMPT).answer == "Six."


def test_with_reasoning_off_nothing_is_split():
    said = completion(chat("Six.", reasoning="Five and one."))
    job_ = job("shards", "store", engine={"kind": "openai", "model": "m", "reasoning": "off"})
    evaluated = Evaluator.of(job_).evaluate(said, PROMPT)
    assert evaluated.answer == said.text
    assert evaluated.completion.reasoning == ""


tags = st.sampled_from(["<think>", "</think>", "</thinking>", "<|channel|>", "assistantfinal"])
words = st.text(st.sampled_from("abc .\n<>/`\"'"), max_size=20)


@given(
    st.lists(words | tags, max_size=4).map("".join),
    st.text(st.sampled_from("abc .\n\"'"), max_size=40),
    st.sampled_from(["stop", "length"]),
)
def test_the_text_that_is_composed_of_thought_and_answer_splits_the_same(thought, content, reason):
    split = split_of(thought, content, reason)
    assert split_text(as_text(split) if split else content) == (split or Split("", content))


def test_a_recorded_answer_keeps_the_thought_and_the_count_of_its_tokens():
    line = BatchLine(completion_tokens=7, reasoning_tokens=5)
    text = as_text(Split("Five and one.", "Six."))
    one = Prompt(record(recorded_answer=text, batch=line), CHAT, "", "", "")
    said = asyncio.run(RecordedEngine().generate(Request.first(one)))
    assert (said.text, said.completion_tokens, said.reasoning_tokens) == (text, 7, 5)


def test_without_a_name_of_its_own_an_endpoint_is_sent_max_tokens():
    (body,) = sent(request())
    assert body["max_tokens"] == 10
    assert "max_completion_tokens" not in body


def test_an_endpoint_that_wants_the_limit_by_its_newer_name_is_asked_wrongly_once():
    with endpoint(UNSUPPORTED, chat("Six.")) as server:
        job_ = endpoint_job(server.url, options={"concurrency": 1})
        completions = generate(job_, request(), request(), request(lengthened=1))
        asked = bodies(server)
    assert all(isinstance(said, Completion) for said in completions)
    limits = [(b.get("max_tokens"), b.get("max_completion_tokens")) for b in asked]
    assert limits == [(10, None), (None, 10), (None, 10), (None, 20)]


def test_all_requests_in_flight_when_the_name_is_learned_are_sent_again():
    async def refuse(_: web.Request, body: bytes) -> web.Response:
        await asyncio.sleep(0.05)
        if "max_tokens" in json.loads(body):
            return web.json_response({"error": {"message": UNSUPPORTED}}, status=400)
        return web.json_response(chat("Six."))

    proxy = Proxy("http://nowhere", refuse).start()
    completions = generate(endpoint_job(proxy.url), *[request()] * 8)
    proxy.close()
    assert all(isinstance(said, Completion) for said in completions)


@pytest.mark.parametrize(
    ("token_limit", "refusal"),
    [("auto", TOO_LONG), ("max_tokens", UNSUPPORTED), ("max_completion_tokens", UNSUPPORTED)],
)
def test_any_other_refusal_fails_the_record_at_once(token_limit, refusal):
    with endpoint(refusal) as server:
        (failed,) = generate(
            endpoint_job(server.url, options={"token_limit": token_limit}), request()
        )
        assert len(server.bodies) == 1
    assert isinstance(failed, GenerationError)


def test_a_job_may_name_the_limit_but_a_plain_prompt_has_one_name_for_it():
    newer = {"options": {"token_limit": "max_completion_tokens"}}
    (body,) = sent(request(), **newer)
    assert (body["max_completion_tokens"], "max_tokens" in body) == (10, False)
    (body,) = sent(request(TEXT), **newer)
    assert (body["max_tokens"], "max_completion_tokens" in body) == (10, False)


def test_fields_of_extra_body_and_the_format_of_the_response_are_in_each_request():
    format_ = {"type": "json_schema", "json_schema": SCHEMA}
    options = {"extra_body": {"reasoning_effort": "low"}, "response_format": format_}
    for messages in (CHAT, TEXT):
        (body,) = sent(request(messages), options=options)
        assert (body["reasoning_effort"], body["response_format"]) == ("low", format_)


def test_the_format_of_a_records_own_line_takes_precedence():
    line = BatchLine(None, {"response_format": {"type": "json_object"}})
    own = Request.first(Prompt(record(batch=line), CHAT, "", "", ""))
    (body,) = sent(own, options={"response_format": {"type": "text"}})
    assert body["response_format"] == {"type": "json_object"}


def test_arguments_of_the_chat_template_are_sent_with_chats_alone():
    def bodies_of(messages: tuple[Message, ...]) -> dict[str, Any]:
        with endpoint(chat("Six.")) as server:
            job_ = endpoint_job(server.url)
            engine = job_.engine.model_copy(
                update={"chat_template_kwargs": {"enable_thinking": False}}
            )
            generate(job_.model_copy(update={"engine": engine}), request(messages))
            return bodies(server)[0]

    assert bodies_of(CHAT)["chat_template_kwargs"] == {"enable_thinking": False}
    assert "chat_template_kwargs" not in bodies_of(TEXT)


def identity(**options: Any) -> dict[str, Any]:
    return generation_identity(endpoint_job("http://host", options=options))(record())


def test_what_is_said_depends_on_the_body_and_not_on_how_the_limit_is_called():
    plain = identity()
    assert "extra_body" not in plain
    assert identity(token_limit="max_completion_tokens", timeout=5) == plain
    assert identity(extra_body={}) == plain
    low, json_ = identity(extra_body={"effort": "low"}), identity(response_format={"type": "text"})
    assert plain != low != json_ != plain
    assert low["extra_body"] == {"effort": "low"}


def wrong(change: Callable[[], Job], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_engine(change())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"token_limit": "max"}, "engine.options.token_limit: Input should be 'auto'"),
        ({"extra_body": []}, "engine.options.extra_body: Input should be a valid dict"),
        ({"extra_body": {"top_k": 5}}, "extra_body.top_k: set sampling.top_k"),
        ({"extra_body": {"max_completion_tokens": 5}}, "set sampling.max_tokens"),
        ({"extra_body": {"messages": []}}, "extra_body.messages: the prompt comes from the record"),
        ({"extra_body": {"stream": True}}, "extra_body.stream: the engine decides it"),
        ({"extra_body": {"since": {1}}}, "extra_body: cannot be sent as JSON"),
        ({"extra_body": {"from": ["http://me:hunter22@host"]}}, "extra_body: holds a secret"),
        ({"extra_body": {"x": float("inf")}}, "extra_body: cannot be sent as JSON"),
        ({"response_format": {"type": "xml"}}, "engine.options.response_format.type: Input should"),
        ({"response_format": {"type": "json_schema"}}, "needs json_schema with a name"),
        ({"response_format": {"type": "text", "json_schema": SCHEMA}}, "no other type has one"),
    ],
)
def test_a_wrong_option_is_an_error_before_anything_starts(options, message):
    wrong(lambda: endpoint_job("http://host", options=options), message)


@pytest.mark.parametrize("kind", ["openai", "recorded", "extractive"])
def test_a_parser_of_vllm_is_refused_for_other_engines(kind):
    def with_(reasoning: str) -> Job:
        return job("shards", "store", engine={"kind": kind, "model": "m", "reasoning": reasoning})

    for known in ("auto", "off"):
        check_engine(with_(known))
    wrong(lambda: with_("qwen3"), "engine.reasoning: qwen3: a parser needs engine.kind vllm")
