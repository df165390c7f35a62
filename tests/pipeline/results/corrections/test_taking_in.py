"""A file of corrections gets in row by row: what is wrong is a reject that says why."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from pipeline.core.filesystem import Location
from pipeline.results.corrections.taking_in import TakenIn, take_in
from pipeline.store.corrections import answer_sha256, read_corrections
from pipeline.store.corrections_file import as_cells, file_rows
from tests.support.answers import answer_row, write_answers
from tests.support.corrections import MORNING, correction

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
GOOD = as_cells(correction("a_1"))


@pytest.fixture
def store(tmp_path) -> Location:
    checks = [{"name": "own", "passed": True, "level": "label", "evidence": ""}]
    return write_answers(
        tmp_path,
        [
            answer_row("a_1"),
            answer_row("b_1", checks=checks),
            answer_row("c_1", model="heron"),
            answer_row("c_1", model="stork"),
        ],
    )


def take(store: Location, *rows: dict[str, str], now=NOON, **defaults: str) -> TakenIn:
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    return take_in(store, file_rows("x.jsonl", lines.encode()), {"echo"}, now, defaults)


def test_a_correction_gets_in_as_it_stands(store):
    taken = take(store, GOOD)
    assert (taken.added, taken.known, taken.rejects) == ([correction("a_1")], 0, [])
    assert read_corrections(store) == [correction("a_1")]


def test_the_same_file_twice_adds_nothing(store):
    rows = [GOOD, {**GOOD, "record_id": "b_1"}, {**GOOD, "value": "yes", "at": ""}]
    assert len(take(store, *rows).added) == 3
    again = take(store, *rows, now=NOON + timedelta(hours=1))
    assert (again.added, again.known) == ([], 3)
    assert len(read_corrections(store)) == 3


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"record_id": ""}, "record_id: missing"),
        ({"record_id": "z_9"}, "record_id: no answer to 'z_9' in the store"),
        ({"generation_key": "0f"}, "generation_key: the store has no answer to this record under"),
        ({"generation_key": "", "model": "gull"}, "model: the store has no answer"),
        (
            {"record_id": "c_1", "generation_key": ""},
            "generation_key: missing, and the store has 2",
        ),
        ({"answer_sha256": "abc"}, "answer_sha256: 'abc' is not 64 hex digits"),
        ({"field": ""}, "field: missing; known: answer, "),
        ({"field": "stanse"}, "field: 'stanse' is not known; did you mean 'stance'?"),
        ({"field": "check:ecko"}, "did you mean 'check:echo'?"),
        ({"field": "check:own"}, "field: 'check:own' is not known"),
        ({"value": "maybe"}, "value: 'maybe' is not one of yes, no, unsure (answers_question)"),
        ({"field": "check:echo", "value": "yes"}, "is not one of passed, missed, unsure"),
        ({"annotator": ""}, "annotator: missing; name the person there, or with --annotator"),
        ({"at": "noon"}, "at: 'noon' is not a time such as"),
        ({"at": "2026-11-31"}, "at: '2026-11-31' is not a time such as"),
        ({"at": "0001-01-01T00:00:00+09:00"}, "is not a time such as"),
        ({"at": "2027-11-29"}, "at: '2027-11-29' is in the future"),
    ],
)
def test_a_row_with_a_fault_is_a_reject_and_the_others_get_in(store, wrong, why):
    taken = take(store, {**GOOD, **wrong}, {**GOOD, "record_id": "b_1"})
    ((line, said),) = taken.rejects
    assert line == 1
    assert why in said
    assert [c.record_id for c in taken.added] == ["b_1"]


def test_a_line_that_is_no_row_is_a_reject(store):
    taken = take_in(store, file_rows("x.jsonl", b"{\n"), set(), NOON)
    assert [reject.line for reject in taken.rejects] == [1]


def test_a_message_about_a_row_controls_no_terminal(store):
    ((_, why),) = take(store, {**GOOD, "record_id": "\x1b[2J" + "z" * 9999}).rejects
    assert "\x1b" not in why
    assert len(why) < 300


def test_a_check_that_the_answer_went_through_may_be_corrected(store):
    row = {**GOOD, "record_id": "b_1", "field": "check:own", "value": "missed"}
    assert take(store, row).rejects == []


def test_a_row_without_a_value_says_nothing(store):
    taken = take(store, {**GOOD, "value": " "}, {"record_id": "z"})
    assert (taken.blank, taken.added, taken.rejects) == (2, [], [])


def test_values_are_read_as_people_write_them(store):
    (added,) = take(store, {**GOOD, "value": " Yes "}).added
    assert added.value == "yes"
    (added,) = take(store, {**GOOD, "field": "answer", "value": " Ten. "}).added
    assert added.value == " Ten. "


def test_a_model_may_stand_for_the_key_and_an_only_answer_needs_neither(store):
    named = {**GOOD, "record_id": "c_1", "generation_key": "", "model": "stork"}
    only = {**GOOD, "generation_key": "", "answer_sha256": ""}
    assert [c.generation_key for c in take(store, named, only).added] == [
        "key of stork",
        "key of heron",
    ]
    (stored, _) = read_corrections(store)
    assert stored.answer_sha256 == answer_sha256("Ten herons.")


def test_defaults_fill_what_a_row_leaves_empty(store):
    rows = {"record_id": "a_1", "value": "no"}, {**GOOD, "record_id": "b_1"}
    first, second = take(store, *rows, annotator="ben", field="answers_question").added
    assert (first.annotator, first.field, first.at, first.note) == (
        "ben",
        "answers_question",
        NOON,
        "",
    )
    assert (second.annotator, second.at) == ("ana", MORNING)


def test_of_two_rows_without_a_time_the_lower_is_newer(store):
    row = {**GOOD, "at": ""}
    take(store, {**row, "value": "no"}, {**row, "value": "yes"}, {**row, "value": "unsure"})
    assert [c.value for c in read_corrections(store)] == ["no", "yes", "unsure"]


def test_a_correction_of_another_text_gets_in_and_is_named(store):
    about_another = as_cells(correction("a_1", answer="Nine."))
    taken = take(store, about_another, GOOD)
    assert len(taken.added) == 2
    assert [c.answer_sha256 for c in taken.stale] == [answer_sha256("Nine.")]
