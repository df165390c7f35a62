"""Records from JSON lines and Parquet rows."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.records import PLAIN, Fault, Message, Passage, Place, Record
from pipeline.reading.rows import id_of, row_record
from tests.support.shards import through_arrow

PLACE = Place("file:///logs/lamps.jsonl", 4)
GOOD = {"id": "a", "question": "Which lamp?", "passages": ["Amber at dusk."]}
ABSENT = object()


def row(**fields: Any) -> dict[str, Any]:
    """A good row; `fields` are added or replace, and `ABSENT` leaves one out."""
    return {name: value for name, value in (GOOD | fields).items() if value is not ABSENT}


def ready(**fields: Any) -> dict[str, Any]:
    """A row without question and passages."""
    return row(question=ABSENT, passages=ABSENT, **fields)


def parsed(values: Any) -> Record | Fault:
    try:
        return row_record(values, PLACE)
    except Fault as fault:
        return fault


def fault_of(values: Any) -> tuple[str, str]:
    fault = parsed(values)
    assert isinstance(fault, Fault)
    return fault.reason, fault.detail


def test_a_row_with_question_and_passages_is_a_record() -> None:
    assert row_record(row(paper_id="p", question_id="CQ1"), PLACE) == Record(
        record_id="a",
        place=PLACE,
        paper_id="p",
        question_id="CQ1",
        question="Which lamp?",
        passages=(Passage("Amber at dusk."),),
    )


def test_a_passage_may_name_its_source() -> None:
    passages = [{"text": "Amber.", "source": "log, p. 3"}, {"text": "White."}, "Green."]

    assert row_record(row(passages=passages), PLACE).passages == (
        Passage("Amber.", "log, p. 3"),
        Passage("White."),
        Passage("Green."),
    )


def test_a_row_with_an_empty_list_of_passages_is_a_record() -> None:
    assert row_record(row(passages=[]), PLACE).passages == ()


def test_a_ready_prompt_is_one_user_message() -> None:
    assert row_record(ready(prompt="Name a lamp."), PLACE).messages == (
        Message(PLAIN, "Name a lamp."),
    )


def test_ready_messages_keep_their_roles_and_order() -> None:
    messages = [{"role": r, "content": c} for r, c in [("system", "Be brief."), ("user", "Lamp?")]]

    assert row_record(ready(messages=messages), PLACE).messages == (
        Message("system", "Be brief."),
        Message("user", "Lamp?"),
    )


def test_text_parts_of_a_message_are_joined() -> None:
    parts = [{"type": "text", "text": "Read."}, {"type": "text", "text": "Answer."}]

    assert row_record(ready(messages=[{"role": "user", "content": parts}]), PLACE).messages == (
        Message("user", "Read.\nAnswer."),
    )


def test_other_columns_become_extra() -> None:
    record = row_record(row(year=1911, tags=["fog"], answer="Amber.", paper_id="p"), PLACE)

    assert record.extra == {"year": 1911, "tags": ["fog"]}


@pytest.mark.parametrize("name", ["recorded_answer", "answer", "completion"])
def test_a_row_s_own_answer_is_recorded(name: str) -> None:
    record = row_record(row(**{name: ""}), PLACE)

    assert record.recorded_answer == ""
    assert record.extra == {}


@pytest.mark.parametrize(
    ("fields", "record_id"),
    [
        ({"record_id": "first", "id": "second", "custom_id": "third"}, "first"),
        ({"record_id": None, "id": "second"}, "second"),
        ({"record_id": "", "id": "", "custom_id": "third"}, "third"),
        ({"id": 7}, "7"),
        ({"id": 0}, "0"),
        ({"id": -1}, "-1"),
        ({"id": None}, "file:///logs/lamps.jsonl#4"),
        ({"id": ABSENT}, "file:///logs/lamps.jsonl#4"),
    ],
)
def test_the_first_id_that_is_not_empty_is_the_id(fields: dict[str, Any], record_id: str) -> None:
    assert row_record(row(**fields), PLACE).record_id == record_id
    assert (id_of(row(**fields)) or f"{PLACE.uri}#{PLACE.row}") == record_id


def test_paper_and_question_ids_may_be_numbers() -> None:
    record = row_record(row(paper_id=12, question_id=0), PLACE)

    assert (record.paper_id, record.question_id) == ("12", "0")


@pytest.mark.parametrize("value", [True, 1.5, ["a"], {"a": 1}])
@pytest.mark.parametrize("name", ["record_id", "id", "custom_id", "paper_id", "question_id"])
def test_an_id_of_another_type_is_a_wrong_type(name: str, value: Any) -> None:
    reason, detail = fault_of(row(**{"id": ABSENT, name: value}))

    assert reason == "wrong_type"
    assert name in detail


def test_a_row_with_an_invalid_id_has_no_id() -> None:
    assert id_of(row(id=[1])) is None
    assert id_of([1]) is None


@pytest.mark.parametrize(
    ("fields", "reason", "named"),
    [
        ({"question": ABSENT}, "missing_field", "question"),
        ({"question": None}, "missing_field", "question"),
        ({"question": ""}, "missing_field", "question"),
        ({"question": " \n"}, "missing_field", "question"),
        ({"question": ["why?"]}, "wrong_type", "question"),
        ({"question": 0}, "wrong_type", "question"),
        ({"question": b"why?"}, "wrong_type", "question"),
        ({"passages": ABSENT}, "missing_field", "passages"),
        ({"passages": None}, "missing_field", "passages"),
        ({"passages": " "}, "missing_field", "passages"),
        ({"passages": {"text": "one"}}, "wrong_type", "passages"),
        ({"passages": 0}, "wrong_type", "passages"),
        ({"passages": ["one", 2]}, "wrong_type", "passages[1]"),
        ({"passages": [None]}, "wrong_type", "passages[0]"),
        ({"passages": [{}]}, "missing_field", "passages[0]"),
        ({"passages": [{"text": 1}]}, "wrong_type", "passages[0].text"),
        ({"passages": [{"text": "a", "source": 1}]}, "wrong_type", "passages[0].source"),
        ({"prompt": ["Name a lamp."]}, "wrong_type", "prompt"),
        ({"messages": {"role": "user"}}, "wrong_type", "messages"),
        ({"messages": ["Name a lamp."]}, "wrong_type", "messages[0]"),
        ({"messages": [{"role": "user"}]}, "missing_field", "messages[0]"),
        ({"messages": [{"content": "a"}]}, "missing_field", "messages[0]"),
        ({"messages": [{"role": "user", "content": 1}]}, "wrong_type", "messages[0].content"),
        ({"messages": [{"role": 1, "content": "a"}]}, "wrong_type", "messages[0].role"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "wrong_type",
            "messages[0].content[0]",
        ),
        ({"answer": 4}, "wrong_type", "answer"),
    ],
)
def test_a_fault_names_its_field(fields: dict[str, Any], reason: str, named: str) -> None:
    actual, detail = fault_of(row(**fields))

    assert actual == reason
    assert named in detail


@pytest.mark.parametrize("fields", [{}, {"messages": []}, {"prompt": ""}, {"prompt": None}])
def test_a_row_without_question_or_prompt_lacks_a_field(fields: dict[str, Any]) -> None:
    assert fault_of(ready(**fields))[0] == "missing_field"


@pytest.mark.parametrize("value", [[1], "text", 3, 1.5, None, True])
def test_only_an_object_is_a_record(value: Any) -> None:
    assert fault_of(value)[0] == "wrong_type"


def test_mojibake_is_repaired_in_the_whole_row() -> None:
    damaged = "the keeper’s lamp".encode().decode("mac_roman")

    record = row_record(row(question=damaged, passages=[damaged], note=damaged), PLACE)

    assert record.question == "the keeper’s lamp"
    assert record.passages == (Passage("the keeper’s lamp"),)
    assert record.extra["note"] == "the keeper’s lamp"
    assert record.repairs == ("mac_roman",)


plain_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
NAMES = [
    "id", "record_id", "custom_id", "paper_id", "question", "passages", "prompt", "messages",
    "body", "answer", "text", "role", "content", "source",
]  # fmt: skip
likely_values = st.recursive(
    plain_values,
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)
    ),
    max_leaves=8,
)
likely_rows = st.dictionaries(st.sampled_from(NAMES), likely_values, max_size=8)


@settings(max_examples=300, deadline=None)
@given(st.one_of(plain_values, likely_rows, likely_rows.map(lambda r: GOOD | r)))
def test_any_json_value_becomes_a_record_or_a_fault(value: Any) -> None:
    outcome = parsed(value)
    if isinstance(outcome, Fault):
        assert outcome.reason in ("wrong_type", "missing_field")
        assert outcome.detail
    else:
        assert outcome.record_id
        assert outcome.messages or outcome.question


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.text(), plain_values.filter(lambda v: not isinstance(v, float))))
def test_any_record_survives_its_table(extra: dict[str, Any]) -> None:
    record = row_record(GOOD | {f"my {name}": value for name, value in extra.items()}, PLACE)

    restored = through_arrow(record)

    assert (restored.record_id, restored.question, restored.passages) == (
        record.record_id,
        record.question,
        record.passages,
    )
    assert restored.extra.keys() == record.extra.keys()


@pytest.mark.parametrize("depth", [100, 254, 300, 1000])
def test_an_extra_column_of_any_depth_becomes_a_record_or_a_fault(depth: int) -> None:
    nested: Any = "bottom"
    for _ in range(depth):
        nested = [nested]

    outcome = parsed(row(odd=nested))

    if isinstance(outcome, Fault):
        assert outcome.reason == "wrong_type"
    else:
        assert through_arrow(outcome).extra == {"odd": nested}
