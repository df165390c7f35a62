"""Records from lines of OpenAI batch files."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.records import PLAIN, Fault, Message, Place, Record
from pipeline.reading.openai_batch import any_record, batch_record

PLACE = Place("file:///logs/lamps.jsonl", 4)


def batch(body: Any, **fields: Any) -> dict[str, Any]:
    return {"custom_id": "b-1", "method": "POST", "url": "/v1/x", "body": body, **fields}


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


NAMES = ["custom_id", "id", "body", "prompt", "messages", "role", "content", "model", "text"]
likely_values = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2**40) | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)
    ),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(likely_values | likely_values.map(batch))
def test_any_json_value_becomes_a_record_or_a_fault(value: Any) -> None:
    outcome = parsed(value)
    if isinstance(outcome, Fault):
        assert outcome.reason in ("wrong_type", "missing_field")
        assert outcome.detail
    else:
        assert outcome.record_id
        assert outcome.messages or outcome.question
