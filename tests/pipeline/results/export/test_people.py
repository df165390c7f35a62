"""Exports show what people say beside what the machine says, where they say anything."""

import csv
import json

import openpyxl
import pyarrow.parquet as pq
import pytest

from pipeline.core.errors import ConfigError
from pipeline.core.filesystem import Location, Storage
from pipeline.results.export.files import ALL, Wanted, export_records
from pipeline.store.corrections import add_corrections
from tests.support.answers import answer_row, write_answers
from tests.support.corrections import correction


@pytest.fixture
def store(tmp_path) -> Location:
    extra = json.dumps({"human_answer": "a column of the user's own", "doi": "10.5555/x"})
    rows = [answer_row("a_1", extra=extra), answer_row("b_1", extra=extra), answer_row("c_1")]
    return write_answers(tmp_path / "store", rows)


def exported(store: Location, folder, ending: str, wanted: Wanted = ALL) -> list[dict]:
    path = folder / f"x.{ending}"
    export_records(store, str(path), Storage(), wanted)
    match ending:
        case "csv":
            with path.open(encoding="utf-8-sig", newline="") as file:
                rows = [{n: v or None for n, v in row.items()} for row in csv.DictReader(file)]
        case "xlsx":
            header, *lines = openpyxl.load_workbook(path)["answers"].iter_rows(values_only=True)
            rows = [dict(zip(header, line, strict=True)) for line in lines]
        case "jsonl":
            rows = [json.loads(line) for line in path.read_text().splitlines()]
        case _:
            rows = pq.read_table(path).to_pylist()
    return sorted(rows, key=lambda row: row["record_id"])


@pytest.mark.parametrize("ending", ["parquet", "csv", "xlsx", "jsonl"])
def test_what_people_say_stands_behind_what_the_machine_says(store, tmp_path, ending):
    add_corrections(
        store,
        [
            correction("a_1", "no"),
            correction("a_1", "=SUM(1)", field="answer"),
            correction("b_1", "yes"),
            correction("b_1", "no", annotator="ben"),
            correction("b_1", "missed", field="check:numbers"),
            correction("c_1", "no", answer="Nine."),
        ],
    )
    rows = exported(store, tmp_path, ending)
    names = list(rows[0])
    for field, column in [
        ("answer", "human_answer"),
        ("answers_question", "human_answers_question"),
        ("checks", "human_check:numbers"),
    ]:
        assert names[names.index(field) + 1] == column
    formula = "'=SUM(1)" if ending == "csv" else "=SUM(1)"
    assert [row["human_answer"] for row in rows] == [formula, None, None]
    assert [row["human_answers_question"] for row in rows] == ["no", "unsure", None]
    assert [row["human_check:numbers"] for row in rows] == [None, "missed", None]
    assert [row["extra.human_answer"] for row in rows][:2] == ["a column of the user's own"] * 2
    assert [row["answer"] for row in rows] == ["Ten herons."] * 3


@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
def test_without_corrections_there_are_no_such_columns(store, tmp_path, ending):
    before = exported(store, tmp_path, ending)
    assert [row["human_answer"] for row in before][:2] == ["a column of the user's own"] * 2
    add_corrections(store, [correction("a_1", answer="Nine.")])  # stale
    assert exported(store, tmp_path, ending) == before


def test_such_columns_can_be_asked_for(store, tmp_path):
    add_corrections(store, [correction("a_1", "no")])
    wanted = Wanted(columns=["human_answers_question", "record_id"])
    assert [tuple(row.values()) for row in exported(store, tmp_path, "csv", wanted)] == [
        ("no", "a_1"),
        (None, "b_1"),
        (None, "c_1"),
    ]
    assert list(exported(store, tmp_path, "csv", Wanted(columns=["record_id"]))[0]) == ["record_id"]
    with pytest.raises(ConfigError, match="human_stance: no such column"):
        exported(store, tmp_path, "csv", Wanted(columns=["human_stance"]))


def test_what_is_said_of_an_answer_under_another_key_stands_beside_no_newer_one(store, tmp_path):
    add_corrections(store, [correction("a_1", "no"), correction("b_1", "no")])
    newer = answer_row("a_1", generation_key="another")
    write_answers(
        tmp_path / "store", [{**newer, "written_at": newer["written_at"].replace(hour=9)}]
    )
    rows = exported(store, tmp_path, "parquet")
    assert [row["human_answers_question"] for row in rows] == [None, "no", None]
