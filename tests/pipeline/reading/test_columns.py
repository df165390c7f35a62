"""A user's columns: where a job says our fields are, and what stays the user's own."""

from typing import Any

import pytest

from pipeline.config.schema import Fields
from pipeline.core.records import Fault, Message, Passage, Place, Record
from pipeline.reading.columns import Columns
from pipeline.reading.openai_batch import any_record
from pipeline.reading.rows import id_of, row_record

PLACE = Place("file:///lamps.jsonl", 2)
ROW = {"question": "Which lamp?", "passages": ["Amber."]}


def record(row: dict[str, Any], **fields: str) -> Record:
    return row_record(row, PLACE, Columns(Fields(**fields)))


def fault(row: dict[str, Any], **fields: str) -> tuple[str, str]:
    with pytest.raises(Fault) as caught:
        record(row, **fields)
    return caught.value.reason, caught.value.detail


def test_every_field_can_be_in_a_column_of_another_name() -> None:
    row = {
        "key": 7,
        "doi": "10.5555/x",
        "nr": "Q1",
        "query": "Which lamp?",
        "contexts": ["Amber."],
        "gold": "The amber one.",
    }

    assert record(
        row,
        record_id="key",
        paper_id="doi",
        question_id="nr",
        question="query",
        passages="contexts",
        recorded_answer="gold",
    ) == Record(
        "7",
        PLACE,
        "10.5555/x",
        "Q1",
        "Which lamp?",
        (Passage("Amber."),),
        recorded_answer="The amber one.",
        extra={"key": 7, "doi": "10.5555/x", "nr": "Q1"},
    )


def test_a_ready_prompt_can_be_in_a_column_of_another_name() -> None:
    chat = [{"role": "user", "content": "Lamp?"}]

    assert record({"text": "Lamp?"}, prompt="text").messages == (Message("plain", "Lamp?"),)
    assert record({"chat": chat}, messages="chat").messages == (Message("user", "Lamp?"),)
    assert record({"text": "Lamp?", "chat": chat}, prompt="text", messages="chat").extra == {}


@pytest.mark.parametrize(
    ("row", "fields", "extra"),
    [
        # Every column that is not ours.
        ({"year": 1911, "tags": ["a"]}, {}, {"year": 1911, "tags": ["a"]}),
        # Of those that are mapped, ids stay, and texts that the record has already do not.
        ({"doi": "x"}, {"paper_id": "doi"}, {"doi": "x"}),
        ({"gold": "A."}, {"recorded_answer": "gold"}, {}),
        # What is ours under its own name, mapped or not, is not the user's.
        ({"paper_id": "x"}, {}, {}),
        ({"paper_id": "x"}, {"paper_id": "paper_id"}, {}),
        # A mapped column takes the place of ours, whose names are then the user's.
        ({"doi": "x", "paper_id": 3}, {"paper_id": "doi"}, {"doi": "x", "paper_id": 3}),
        (
            {"doi": "x", "id": 4, "custom_id": "c"},
            {"record_id": "doi"},
            {"doi": "x", "id": 4, "custom_id": "c"},
        ),
        ({"gold": "A.", "answer": "B."}, {"recorded_answer": "gold"}, {"answer": "B."}),
        ({"id": "x"}, {"paper_id": "id"}, {"id": "x"}),
        # A mapped column that a record lacks hides nothing.
        ({"paper_id": 3}, {"paper_id": "doi"}, {"paper_id": 3}),
        # Of an object all stays but the text.
        (
            {"meta": {"doi": "x", "gold": "A.", "year": 1}},
            {"paper_id": "meta.doi", "recorded_answer": "meta.gold"},
            {"meta": {"doi": "x", "year": 1}},
        ),
        ({"meta": {"gold": "A."}, "n": 1}, {"recorded_answer": "meta.gold"}, {"n": 1}),
        # A text that is also an id is a text.
        ({"name": "x"}, {"paper_id": "name", "recorded_answer": "name"}, {}),
    ],
)
def test_a_user_s_own_columns_stay_under_their_own_names(
    row: dict[str, Any], fields: dict[str, str], extra: dict[str, Any]
) -> None:
    before = repr(row)

    assert record(ROW | row, **fields).extra == extra
    assert repr(row) == before


def test_a_dot_leads_into_objects_of_any_depth() -> None:
    row = {"question": "Which?", "result": {"top": {"contexts": [{"text": "Amber."}]}, "n": 3}}

    found = record(row, passages="result.top.contexts")

    assert found.passages == (Passage("Amber."),)
    assert found.extra == {"result": {"n": 3}}


@pytest.mark.parametrize(
    "row",
    [
        {"a.b.c": "own", "a": {"b": {"c": "deep"}}},
        {"a.b": {"c": "own"}, "a": {"b": {"c": "deep"}}},
        {"a": {"b.c": "own", "b": {"c": "deep"}}},
        {"a.b": {"other": 1}, "a": {"b": {"c": "own"}}},
        {"a.b": "text", "a": {"b": {"c": "own"}}},
    ],
)
def test_a_column_with_the_dot_in_its_own_name_wins(row: dict[str, Any]) -> None:
    assert record(ROW | row, paper_id="a.b.c").paper_id == "own"


def test_a_mapped_column_is_read_as_nothing_else() -> None:
    asked = record({"prompt": "Which lamp?", "passages": ["Amber."]}, question="prompt")

    assert (asked.question, asked.messages, asked.extra) == ("Which lamp?", (), {})
    assert record(ROW | {"id": "p"}, paper_id="id").record_id == f"{PLACE.uri}#{PLACE.row}"
    both = record(ROW | {"id": "p"}, paper_id="id", record_id="id")
    assert (both.record_id, both.paper_id) == ("p", "p")


def test_a_field_of_ours_that_is_mapped_is_not_read_under_its_own_name() -> None:
    reason, detail = fault(ROW, question="query")

    assert reason == "missing_field"
    assert detail == 'no "query" (input.fields.question); the record has question, passages'
    assert record(ROW | {"paper_id": "x"}, paper_id="doi").paper_id is None
    assert record(ROW | {"answer": "x"}, recorded_answer="gold").recorded_answer is None


@pytest.mark.parametrize("value", [None, "", " \n", ...])
def test_a_mapped_column_that_a_record_lacks_is_a_missing_field_of_the_user_s_name(
    value: Any,
) -> None:
    row = {"querry": "Which?", "contexts": ["Amber."], "query": value}
    row = {name: cell for name, cell in row.items() if cell is not ...}

    reason, detail = fault(row, question="query", passages="contexts")

    assert reason == "missing_field"
    assert 'no "query" (input.fields.question)' in detail
    assert "did you mean 'querry'?" in detail


def test_a_path_into_what_is_no_object_is_a_missing_field() -> None:
    for result in ({}, [], "text", None, [{"contexts": ["Amber."]}]):
        row = {"question": "Which?", "result": result}
        reason, detail = fault(row, passages="result.contexts")
        assert (reason, '"result.contexts" (input.fields.passages)' in detail) == (
            "missing_field",
            True,
        )


def test_a_record_without_our_names_is_told_of_the_mapping() -> None:
    _, detail = fault({"query": "Which?", "contexts": ["Amber."]})

    assert 'no "question"; the record has query, contexts' in detail
    assert "input.fields.question" in detail


def test_a_fault_of_type_names_the_user_s_column() -> None:
    assert (
        "contexts[1] must be text"
        in fault({"question": "Which?", "contexts": ["Amber.", 4]}, passages="contexts")[1]
    )
    assert fault(ROW | {"meta": {"doi": 1.5}}, paper_id="meta.doi")[1].startswith("meta.doi must")


def test_a_reject_has_the_id_of_the_mapped_column() -> None:
    assert id_of({"id": "a", "doi": "b"}, Columns(Fields(record_id="doi"))) == "b"
    assert id_of({"id": "a"}, Columns(Fields(record_id="doi"))) is None


@pytest.mark.parametrize(
    ("value", "passages"),
    [
        ("One page.", ("One page.",)),
        ("[1] A citation.", ("[1] A citation.",)),
        ("[1, 2]", ("[1, 2]",)),
        ("['a', 'b']", ("['a', 'b']",)),
        ('["a", "b"]', ("a", "b")),
        ('[{"text": "a"}, "b"]', ("a", "b")),
        ("[]", ()),
        (["[1, 2]", '["a"]'], ("[1, 2]", '["a"]')),
    ],
)
def test_passages_are_a_text_or_a_list_which_may_be_written_as_json(
    value: Any, passages: tuple[str, ...]
) -> None:
    found = record({"question": "Which?", "passages": value}).passages

    assert tuple(p.text for p in found) == passages


def test_messages_may_be_written_as_json() -> None:
    found = record({"messages": '[{"role": "user", "content": "Lamp?"}]'})

    assert found.messages == (Message("user", "Lamp?"),)
    assert fault({"messages": "Lamp?"})[1] == "messages must be a list, not text"


BATCH = {
    "custom_id": "a",
    "metadata": {"doi": "x"},
    "body": {"messages": [{"role": "user", "content": "Lamp?"}]},
}


def test_a_line_of_a_batch_can_have_its_paper_in_a_column_of_its_own() -> None:
    found = any_record(BATCH, PLACE, Columns(Fields(paper_id="metadata.doi")))

    assert (found.record_id, found.paper_id) == ("a", "x")
    assert found.messages == (Message("user", "Lamp?"),)


def test_no_row_is_a_line_of_a_batch_where_the_job_names_the_prompt() -> None:
    row = BATCH | {"ask": "Which lamp?", "pages": "Amber."}

    found = any_record(row, PLACE, Columns(Fields(question="ask", passages="pages")))

    assert (found.record_id, found.question) == ("a", "Which lamp?")
    assert found.extra == {"metadata": {"doi": "x"}, "body": BATCH["body"]}
