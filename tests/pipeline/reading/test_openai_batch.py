"""Records from lines of OpenAI batch files."""

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.answering.reasoning import split_text
from pipeline.config.schema import Sampling
from pipeline.core.records import PLAIN, BatchLine, Fault, Message, Place, Record, Split
from pipeline.reading.batch_settings import _NEUTRAL, _WITHOUT_EFFECT
from pipeline.reading.openai_batch import any_id, any_record, batch_record
from tests.support.shards import through_arrow

PLACE = Place("file:///logs/lamps.jsonl", 4)


def batch(body: Any, **fields: Any) -> dict[str, Any]:
    return {"custom_id": "b-1", "method": "POST", "url": "/v1/x", "body": body, **fields}


def response(body: Any, status: Any = 200, error: Any = None) -> dict[str, Any]:
    """A line of an output file of OpenAI's service."""
    answer = {"status_code": status, "request_id": "r", "body": body}
    return {"id": "batch_req_1", "custom_id": "b-1", "response": answer, "error": error}


def result(message: Any, kind: str = "succeeded", **fields: Any) -> dict[str, Any]:
    """A line of an output file of Anthropic's service."""
    return {"custom_id": "b-1", "result": {"type": kind, "message": message, **fields}}


def parsed(values: Any) -> Record | Fault:
    try:
        return batch_record(values, PLACE)
    except Fault as fault:
        return fault


def fault_of(values: Any) -> tuple[str, str]:
    fault = parsed(values)
    assert isinstance(fault, Fault)
    return fault.reason, fault.detail


@pytest.mark.parametrize("value", [[1], "text", 3, 1.5, None, True])
def test_only_an_object_is_a_batch_line(value: Any) -> None:
    assert fault_of(value)[0] == "wrong_type"


@pytest.mark.parametrize("parse", [any_record, batch_record])
def test_a_chat_line_of_a_batch_file_is_a_record(parse: Any) -> None:
    body = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "Lamp?"}]}

    record = parse(batch(body), PLACE)

    assert (record.record_id, record.messages) == ("b-1", (Message("user", "Lamp?"),))


@pytest.mark.parametrize("parse", [any_record, batch_record])
def test_a_completions_line_of_a_batch_file_is_a_record(parse: Any) -> None:
    record = parse(batch({"model": "m", "prompt": "Lamp:"}), PLACE)

    assert (record.record_id, record.messages) == ("b-1", (Message(PLAIN, "Lamp:"),))


def test_the_request_s_other_settings_become_extra() -> None:
    record = batch_record(batch({"model": "m", "prompt": "Lamp:"}), PLACE)

    assert record.extra["body"] == {"model": "m"}


@pytest.mark.parametrize(
    ("values", "reason", "named"),
    [
        (batch("text"), "wrong_type", "body"),
        (batch(["list"]), "wrong_type", "body"),
        (batch(None), "missing_field", "body"),
        ({"body": {"prompt": "Lamp:"}}, "missing_field", "custom_id"),
        (batch({"model": "m"}), "missing_field", "question"),
        (batch({"prompt": [1, 2]}), "wrong_type", "prompt"),
        (batch({"prompt": "Lamp:"}, custom_id=True), "wrong_type", "custom_id"),
    ],
)
def test_a_faulty_batch_line_names_its_field(
    values: dict[str, Any], reason: str, named: str
) -> None:
    actual, detail = fault_of(values)

    assert actual == reason
    assert named in detail


def chat(url: str = "/v1/chat/completions", **settings: Any) -> dict[str, Any]:
    return batch({"messages": [{"role": "user", "content": "Lamp?"}], **settings}, url=url)


def sampling_of(line: dict[str, Any]) -> Any:
    record = batch_record(line, PLACE)
    return record.batch.sampling if record.batch else None


# The prompt of a request.


SYSTEM, USER = Message("system", "In French."), Message("user", "Lamp?")
BLOCK = {"type": "text", "text": "In French.", "cache_control": {"type": "ephemeral"}}


@pytest.mark.parametrize(
    ("url", "body", "messages"),
    [
        ("/v1/completions", {"prompt": "Lamp?"}, (Message(PLAIN, "Lamp?"),)),
        ("/v1/completions", {"prompt": ["Lamp?"]}, (Message(PLAIN, "Lamp?"),)),
        ("/v1/messages", {"messages": [USER._asdict()]}, (USER,)),
        ("/v1/messages", {"messages": [USER._asdict()], "system": "In French."}, (SYSTEM, USER)),
        ("/v1/messages", {"messages": [USER._asdict()], "system": [BLOCK]}, (SYSTEM, USER)),
        ("/v1/responses", {"input": "Lamp?"}, (USER,)),
        ("/v1/responses", {"input": "Lamp?", "instructions": "In French."}, (SYSTEM, USER)),
        ("/v1/responses", {"input": [{"type": "message", **USER._asdict()}]}, (USER,)),
        (
            "https://host/v1/responses/",
            {"input": [{"role": "user", "content": [{"type": "input_text", "text": "Lamp?"}]}]},
            (USER,),
        ),
        (
            "/v1/chat/completions",
            {"messages": [{"role": "developer", "content": "In French."}, USER._asdict()]},
            (Message("developer", "In French."), USER),
        ),
        ("/chat/completions", {"messages": [USER._asdict()]}, (USER,)),
        ("/v1/x", {"messages": [USER._asdict()]}, (USER,)),
    ],
)
def test_a_request_s_prompt_is_read_by_its_endpoint(
    url: str, body: dict[str, Any], messages: tuple[Message, ...]
) -> None:
    for parse in (any_record, batch_record):
        assert parse(batch(body, url=url), PLACE).messages == messages


def test_a_line_of_anthropics_batches_needs_no_url() -> None:
    params = {"messages": [USER._asdict()], "system": "In French.", "max_tokens": 9, "model": "c"}
    record = any_record({"custom_id": "b-1", "params": params}, PLACE)
    assert (record.record_id, record.messages) == ("b-1", (SYSTEM, USER))
    assert record.batch == BatchLine("c", {"max_tokens": 9})


CALL = {"role": "assistant", "content": None, "tool_calls": [{"id": "t", "type": "function"}]}


@pytest.mark.parametrize(
    ("line", "reason", "named"),
    [
        (batch({"messages": [USER._asdict(), CALL]}), "unsupported", "messages[1]: tool calls"),
        (batch({"messages": [{"role": "tool", "content": "x"}]}), "unsupported", "messages[0]"),
        (
            batch({"messages": [{"role": "user", "content": [{"type": "tool_result"}]}]}),
            "unsupported",
            "tool calls",
        ),
        (
            batch({"input": [{"type": "function_call_output"}]}, url="/v1/responses"),
            "unsupported",
            "input[0]: function_call_output",
        ),
        (
            batch({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}),
            "wrong_type",
            "only text",
        ),
        (
            batch(
                {"messages": [USER._asdict(), {"role": "assistant", "content": "The"}]},
                url="/v1/messages",
            ),
            "unsupported",
            "cannot be continued",
        ),
        (batch({"prompt": ["a", "b"]}, url="/v1/completions"), "unsupported", "2 prompts"),
        (batch({"prompt": [[1, 2]]}, url="/v1/completions"), "wrong_type", "token ids"),
        (batch({"prompt": [1, 2]}, url="/v1/completions"), "wrong_type", "token ids"),
        (batch({"input": "Lamp?"}, url="/v1/embeddings"), "unsupported", "/v1/embeddings"),
        (batch({"input": "Lamp?"}), "missing_field", "question"),
    ],
)
def test_a_request_that_cannot_be_carried_out_says_what_cannot(
    line: dict[str, Any], reason: str, named: str
) -> None:
    actual, detail = fault_of(line)
    assert actual == reason
    assert named in detail


# The settings of a request.

VALUES = {
    "temperature": 0.5,
    "top_p": 0.5,
    "top_k": 4,
    "min_p": 0.1,
    "max_tokens": 7,
    "min_tokens": 2,
    "seed": 3,
    "stop": ["x"],
    "stop_token_ids": [1],
    "bad_words": ["y"],
    "ignore_eos": True,
    "presence_penalty": 0.5,
    "frequency_penalty": 0.5,
    "repetition_penalty": 1.5,
}


@settings(max_examples=100, deadline=None)
@given(st.sets(st.sampled_from(sorted(VALUES))), st.sets(st.sampled_from(sorted(_WITHOUT_EFFECT))))
def test_settings_become_sampling_parameters_and_those_without_effect_nothing(
    names: set[str], others: set[str]
) -> None:
    chosen = {name: VALUES[name] for name in names}
    line = chat(model="m", **chosen, **dict.fromkeys(others, "x"))
    assert batch_record(line, PLACE).batch == BatchLine("m", chosen)


def test_every_parameter_of_vllm_that_a_job_may_set_may_stand_in_a_line() -> None:
    assert VALUES.keys() <= Sampling.model_fields.keys()
    for name, value in VALUES.items():
        assert sampling_of(chat(**{name: value})) == {name: value}


@pytest.mark.parametrize(
    ("given", "sampling"),
    [
        ({"max_completion_tokens": 5}, {"max_tokens": 5}),
        ({"max_output_tokens": 5}, {"max_tokens": 5}),
        ({"max_tokens": 5, "max_completion_tokens": 5}, {"max_tokens": 5}),
        ({"stop_sequences": ["a"]}, {"stop": ["a"]}),
        ({"stop": "a"}, {"stop": ["a"]}),
        ({"stop": []}, None),
        ({"stop": None, "temperature": None, "n": None}, None),
        ({"temperature": 0}, {"temperature": 0.0}),
        ({"response_format": {"type": "text"}}, None),
        (
            {"response_format": {"type": "json_object"}},
            {"response_format": {"type": "json_object"}},
        ),
        ({"text": {"format": {"type": "text"}}}, None),
    ],
)
def test_names_and_types_of_the_protocols_become_those_of_the_job_file(
    given: dict[str, Any], sampling: Any
) -> None:
    assert sampling_of(chat(**given)) == sampling


def test_a_schema_is_the_same_in_chats_and_responses() -> None:
    named = {"name": "lamp", "schema": {"type": "object"}, "strict": True}
    of_chat = chat(response_format={"type": "json_schema", "json_schema": named})
    of_response = batch(
        {"input": "Lamp?", "text": {"format": {"type": "json_schema", **named}}},
        url="/v1/responses",
    )
    expected = {"response_format": {"type": "json_schema", "json_schema": named}}
    assert sampling_of(of_chat) == sampling_of(of_response) == expected


@pytest.mark.parametrize("name", sorted(_NEUTRAL))
def test_settings_that_ask_for_nothing_are_accepted_and_others_of_their_name_refused(
    name: str,
) -> None:
    for value in (*_NEUTRAL[name], None):
        assert sampling_of(chat(**{name: value})) is None
    assert fault_of(chat(**{name: {"other": [2]}})) == (
        "unsupported",
        f"body.{name}: {{'other': [2]}} cannot be obeyed; leave it out",
    )


@settings(max_examples=100, deadline=None)
@given(st.text(), st.integers(1, 99) | st.text(min_size=1) | st.lists(st.booleans(), min_size=1))
def test_a_setting_that_no_list_names_is_refused(name: str, value: Any) -> None:
    reason, detail = fault_of(chat(**{f"my_{name}": value}))
    assert reason == "unsupported"
    assert f"body.my_{name}" in detail


@pytest.mark.parametrize(
    ("given", "reason", "named"),
    [
        ({"temperature": 2.1}, "unsupported", "body.temperature: Input should be less than"),
        ({"temperature": -1}, "unsupported", "body.temperature"),
        ({"temperature": "hot"}, "wrong_type", "body.temperature"),
        ({"temperature": True}, "wrong_type", "body.temperature"),
        ({"top_p": 0}, "unsupported", "body.top_p"),
        ({"top_p": 1.5}, "unsupported", "body.top_p"),
        ({"presence_penalty": -3}, "unsupported", "body.presence_penalty"),
        ({"max_completion_tokens": 0}, "unsupported", "body.max_completion_tokens"),
        ({"max_tokens": 1.5}, "wrong_type", "body.max_tokens"),
        ({"max_tokens": 5, "max_completion_tokens": 6}, "unsupported", "another value"),
        ({"seed": 2**63}, "unsupported", "body.seed"),
        ({"stop": ["a", ""]}, "unsupported", "body.stop"),
        ({"stop": [1]}, "wrong_type", "body.stop"),
        ({"response_format": {"type": "xml"}}, "unsupported", "body.response_format"),
        ({"response_format": {"type": "json_schema"}}, "unsupported", "body.response_format"),
        ({"response_format": "json"}, "unsupported", "body.response_format"),
        ({"text": {"verbosity": "low"}}, "unsupported", "body.text.verbosity"),
        ({"reasoning_effort": "low"}, "unsupported", "body.reasoning_effort"),
        ({"logit_bias": {"5": 101}}, "unsupported", "body.logit_bias"),
        ({"logit_bias": {"amber": 1}}, "unsupported", "body.logit_bias"),
        ({"logit_bias": [5]}, "wrong_type", "body.logit_bias"),
        ({"max_tokens": 5, "min_tokens": 6}, "unsupported", "body.min_tokens"),
        ({"repetition_detection": {"max_pattern_size": 4}}, "unsupported", "min_count must be"),
        ({"repetition_detection": {"size": 4}}, "unsupported", "body.repetition_detection"),
        ({"allowed_token_ids": [-1]}, "unsupported", "body.allowed_token_ids"),
        ({"skip_special_tokens": "no"}, "wrong_type", "body.skip_special_tokens"),
        ({"model": 7}, "wrong_type", "body.model"),
    ],
)
def test_an_impossible_value_is_a_fault_that_names_it(
    given: dict[str, Any], reason: str, named: str
) -> None:
    actual, detail = fault_of(chat(**given))
    assert actual == reason
    assert named in detail


def test_what_a_line_says_survives_its_table() -> None:
    lines = [chat(model="m", seed=7, response_format={"type": "json_object"}), chat()]
    records = [batch_record(line, PLACE) for line in lines]
    assert list(map(through_arrow, records)) == records
    assert records[1].batch is None


# Output files.

USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 8}}
COUNTS = {"input_tokens": 9, "output_tokens": 4}
ENDED = {"finish_reason": "length", "prompt_tokens": 9, "completion_tokens": 4}


def of_chat(content: Any = "Amber.", reason: str = "length", **message: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": content, **message}
    return {"choices": [{"index": 0, "message": message, "finish_reason": reason}], "usage": USAGE}


def of_responses(status: str = "completed", why: str | None = None) -> dict[str, Any]:
    part = {"type": "output_text", "text": "Amber.", "annotations": []}
    message = {"type": "message", "role": "assistant", "content": [part]}
    details = {"reason": why} if why else None
    output = [{"type": "reasoning", "summary": []}, message]
    return {"status": status, "incomplete_details": details, "output": output, "usage": COUNTS}


def of_messages(reason: str = "max_tokens") -> dict[str, Any]:
    content = [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "Amber."}]
    return {"type": "message", "content": content, "stop_reason": reason, "usage": COUNTS}


@pytest.mark.parametrize(
    ("line", "batch_line"),
    [
        (response(of_chat()), BatchLine(**ENDED, cached_tokens=8)),
        (
            response(of_chat([{"type": "text", "text": "Amber."}])),
            BatchLine(**ENDED, cached_tokens=8),
        ),
        ({**response(None), "response": of_chat()}, BatchLine(**ENDED, cached_tokens=8)),
        (
            response({"choices": [{"text": "Amber.", "finish_reason": "stop"}]}),
            BatchLine(finish_reason="stop"),
        ),
        (response(of_responses("incomplete", "max_output_tokens")), BatchLine(**ENDED)),
        (response(of_responses()), BatchLine(**{**ENDED, "finish_reason": "stop"})),
        (response(of_chat(reason="content_filter")), None),
        (response(of_chat(None, refusal="Amber.")), None),
    ],
)
def test_an_answer_of_an_output_file_is_recorded_under_its_custom_id(
    line: dict[str, Any], batch_line: BatchLine | None
) -> None:
    for parse in (any_record, batch_record):
        record = parse(line, PLACE)
        assert (record.record_id, record.recorded_answer) == ("b-1", "Amber.")
        assert record.messages == ()
        if batch_line:
            assert record.batch == batch_line
    assert through_arrow(record) == record


REASONED = {"completion_tokens_details": {"reasoning_tokens": 3}}
HIDDEN = {"type": "redacted_thinking", "data": "c2VhbGVk"}
SUMMARY = [{"type": "summary_text", "text": "Not fog."}, {"type": "summary_text", "text": "Hm."}]


def with_items(*items: dict[str, Any], status: str = "completed") -> dict[str, Any]:
    """A response of `/v1/responses` with items of reasoning in front of its message, if any."""
    body = of_responses(status, "max_output_tokens" if status == "incomplete" else None)
    messages = body["output"][1:] if status == "completed" else []
    usage = {**COUNTS, "output_tokens_details": {"reasoning_tokens": 3}}
    return {**body, "output": [*items, *messages], "usage": usage}


def with_parts(*parts: dict[str, Any]) -> dict[str, Any]:
    return {**of_messages("end_turn"), "content": [*parts, {"type": "text", "text": "Amber."}]}


@pytest.mark.parametrize(
    ("line", "reasoning", "tokens"),
    [
        (response(of_chat(reasoning_content="Hm.")), "Hm.", 0),
        (response({**of_chat(reasoning="Hm."), "usage": {**USAGE, **REASONED}}), "Hm.", 3),
        (response(of_chat(reasoning_content="Hm.", reasoning="Hm.")), "Hm.", 0),
        (response(of_messages()), "Hm.", 0),
        (result(of_messages()), "Hm.", 0),
        (result(with_parts({"type": "thinking", "thinking": "Hm."}, HIDDEN)), "Hm.", 0),
        (
            response(with_items({"type": "reasoning", "content": [{"text": "Hm."}]})),
            "Hm.",
            3,
        ),
        (response(with_items({"type": "reasoning", "summary": SUMMARY})), "Not fog.\n\nHm.", 3),
    ],
)
def test_a_thought_of_an_output_file_is_recorded_in_front_of_the_answer(
    line: dict[str, Any], reasoning: str, tokens: int
) -> None:
    record = any_record(line, PLACE)
    text = record.recorded_answer or ""
    assert split_text(text) == Split(reasoning, "Amber.")
    assert record.batch
    assert record.batch.reasoning_tokens == tokens
    assert through_arrow(record) == record


@pytest.mark.parametrize(
    "line",
    [
        response(of_chat("", reasoning="Not fog, but")),
        response(of_chat(None, reasoning_content="Not fog, but")),
        response(
            with_items(
                {"type": "reasoning", "summary": [{"text": "Not fog, but"}]}, status="incomplete"
            )
        ),
        result({**of_messages(), "content": [{"type": "thinking", "thinking": "Not fog, but"}]}),
    ],
)
def test_a_thought_that_the_token_limit_ends_is_recorded_as_one_that_is_open(
    line: dict[str, Any],
) -> None:
    record = any_record(line, PLACE)
    assert split_text(record.recorded_answer or "") == Split("Not fog, but", "", is_closed=False)


@pytest.mark.parametrize(
    "line",
    [
        response(of_chat(reasoning="")),
        response(of_chat(reasoning_content=None)),
        response(with_items({"type": "reasoning", "summary": []})),
        result(with_parts(HIDDEN)),
    ],
)
def test_a_thought_that_the_service_keeps_to_itself_leaves_the_answer_as_it_is(
    line: dict[str, Any],
) -> None:
    assert any_record(line, PLACE).recorded_answer == "Amber."


@pytest.mark.parametrize(
    ("line", "reason", "named"),
    [
        (response({"error": {"message": "Too long."}}, 400), "failed_request", "400: Too long."),
        (response({"error": {"message": "Slow down."}}, 429), "failed_request", "429: Slow down."),
        (response(None, 500), "failed_request", "status 500"),
        (
            {**response(None, error={"code": "expired"}), "response": None},
            "failed_request",
            "expired",
        ),
        (result(None, "errored", error={"error": {"message": "Busy."}}), "failed_request", "Busy."),
        (result(None, "expired"), "failed_request", "result expired"),
        (response({"choices": []}), "unsupported", "0 answers"),
        (response({"choices": of_chat()["choices"] * 2}), "unsupported", "2 answers"),
        (response(of_chat(None, tool_calls=[{}])), "unsupported", "a call of a tool"),
        (response({}), "missing_field", "no answer"),
    ],
)
def test_a_failed_request_is_a_fault_with_its_reason_under_its_custom_id(
    line: dict[str, Any], reason: str, named: str
) -> None:
    actual, detail = fault_of(line)
    assert actual == reason
    assert named in detail
    assert any_id(line) == "b-1"


@pytest.mark.parametrize("name", ["body", "params"])
@pytest.mark.parametrize(
    "prompt",
    [{"question": "Lamp?", "passages": []}, {"prompt": "Lamp?"}, {"messages": [USER._asdict()]}],
)
def test_a_record_with_a_column_of_this_name_is_no_request(
    name: str, prompt: dict[str, Any]
) -> None:
    record = any_record({"custom_id": "a", **prompt, name: {"height": 3}}, PLACE)
    assert record.question or record.messages
    assert record.extra == {name: {"height": 3}}
    assert record.batch is None


def test_a_record_with_columns_of_these_names_is_no_output() -> None:
    row = {"custom_id": "a", "question": "Lamp?", "passages": [], "response": {}, "error": None}
    assert any_record(row, PLACE).question == "Lamp?"
    assert orjson.loads(orjson.dumps(any_record(row, PLACE).extra)) == {
        "response": {},
        "error": None,
    }


NAMES = ["custom_id", "id", "body", "prompt", "messages", "role", "content", "model", "text", "url"]
NAMES += ["input", "stop", "choices", "message", "output", "type", "error", "status_code", "usage"]
NAMES += ["response_format", "temperature", "json_schema", "schema", "finish_reason", "response"]
likely_values = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2**40) | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)
    ),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(
    likely_values
    | likely_values.map(batch)
    | likely_values.map(response)
    | likely_values.map(result)
)
def test_any_json_value_becomes_a_record_or_a_fault(value: Any) -> None:
    outcome = parsed(value)
    if isinstance(outcome, Fault):
        assert outcome.reason in ("wrong_type", "missing_field", "unsupported", "failed_request")
        assert outcome.detail
    else:
        assert outcome.record_id
        assert outcome.messages or outcome.question or outcome.recorded_answer is not None
