"""The user's columns stand beside each answer, and cost no generation when they come later."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.cluster.in_process import InProcess
from pipeline.core.carried import lines_about
from pipeline.core.filesystem import Storage
from pipeline.runs.recheck import recheck_store
from pipeline.store.compaction import compact
from pipeline.store.parts import PartWriter
from pipeline.store.reader import BY_RECORD, read_rows
from tests.support.jobs import (
    counts,
    ignore,
    job,
    plan,
    rows,
    run,
    run_on_cluster,
    stored,
    write_jsonl,
)

NOW = datetime(2026, 11, 24, tzinfo=UTC)
DOI = "10.5555/heron."

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | texts
scalars |= st.floats(allow_nan=False, allow_infinity=False)
nested = st.lists(scalars, max_size=3) | st.dictionaries(texts, scalars, max_size=3)
values = (
    scalars | nested | st.lists(nested, max_size=2) | st.dictionaries(texts, nested, max_size=2)
)
OURS = {"record_id", "id", "custom_id", "recorded_answer", "answer", "completion", "question"} | {
    *("passages", "prompt", "messages", "paper_id", "question_id"),
    *("body", "response", "error", "method", "url"),  # of a batch file
}
columns_of_a_user = st.dictionaries(texts.filter(lambda name: name not in OURS), values, max_size=4)


@pytest.fixture
def shards(tmp_path) -> Path:
    """Six records with a DOI each, and a venue with a name."""
    return write(tmp_path, [{"doi": f"{DOI}{n}", "venue": {"name": "Pond"}} for n in range(6)])


def write(folder: Path, columns: Sequence[dict[str, Any]], name: str = "a") -> Path:
    lines = [{**row, **own} for row, own in zip(rows(range(len(columns))), columns, strict=True)]
    return write_jsonl(folder / f"shards/{name}.jsonl", lines).parent


def carrying(shards: Path, carry: Any, rows_per_file: int = 1000, **sections: Any):
    store = shards.parent / "store"
    output = {"uri": str(store), "rows_per_file": rows_per_file, "carry": carry}
    defaults = {"engine": {"kind": "recorded"}, "output": output}
    return job(shards, store, **{**defaults, **sections})


def carried(shards: Path, by: Sequence[str] = BY_RECORD) -> dict[str, Any]:
    """The carried columns of the rows that count, by record and in the order of records."""
    tables = read_rows(Storage().at(str(shards.parent / "store")), by)
    cells = sorted((r["record_id"], r["extra"]) for t in tables for r in t.to_pylist())
    return {record_id: extra and orjson.loads(extra) for record_id, extra in cells}


def all_rows(shards: Path) -> list[dict[str, Any]]:
    rows_ = stored(shards.parent / "store").to_pylist()
    return sorted(rows_, key=lambda row: (row["record_id"], row["written_at"]))


def test_carried_columns_stand_beside_answers_under_the_names_of_the_job(shards):
    run(carrying(shards, ["venue.name", "doi"]))
    assert list(carried(shards).values()) == [
        {"venue.name": "Pond", "doi": f"{DOI}{n}"} for n in range(6)
    ]


def test_a_job_that_carries_nothing_stores_nothing(shards):
    run(carrying(shards, []))
    assert set(carried(shards).values()) == {None}


def test_a_column_with_a_dot_in_its_name_comes_before_an_object(tmp_path):
    shards = write(tmp_path, [{"a.b": 1, "a": {"b": 2}}, {"a": {"b": {"c": 3}}}, {"a": [4]}])
    run(carrying(shards, ["a.b", "a.b.c"]))
    assert [*carried(shards).values()] == [{"a.b": 1}, {"a.b": {"c": 3}, "a.b.c": 3}, None]


def test_what_is_carried_is_no_part_of_a_key(shards):
    run(carrying(shards, []))
    before = {row["record_id"]: row["generation_key"] for row in all_rows(shards)}
    for carry in (["doi"], "all", ["venue"]):
        assert "answered" not in counts(run(carrying(shards, carry)))
    assert {row["record_id"]: row["generation_key"] for row in all_rows(shards)} == before


def test_the_next_run_fills_columns_in_and_generates_nothing(shards):
    run(carrying(shards, []))
    before = all_rows(shards)
    document = run(carrying(shards, ["doi"]))
    assert counts(document) == {"read": 6, "current": 6, "filled_in": 6}
    assert [*carried(shards).values()] == [{"doi": f"{DOI}{n}"} for n in range(6)]
    both = all_rows(shards)
    assert both[::2] == before
    for old, new in zip(both[::2], both[1::2], strict=True):
        later = old["written_at"] + timedelta(microseconds=1)
        assert new == {**old, "extra": new["extra"], "written_at": later}


def test_a_run_with_nothing_new_to_carry_writes_nothing(shards):
    for carry in (["doi", "venue"], "all"):
        run(carrying(shards, carry))
        rows_ = all_rows(shards)
        assert counts(run(carrying(shards, carry))) == {"read": 6, "current": 6}
        assert all_rows(shards) == rows_


def test_columns_in_another_order_are_the_same_columns(tmp_path):
    shards = write(tmp_path, [{"a": 1, "b": {"x": 1, "y": 2}}])
    run(carrying(shards, "all"))
    write(tmp_path, [{"b": {"y": 2, "x": 1}, "a": 1}])
    assert counts(run(carrying(shards, "all"))) == {"read": 1, "current": 1}


def test_a_corrected_column_is_stored_and_one_that_is_gone_stays(tmp_path):
    shards = write(tmp_path, [{"doi": "wrong", "year": 1998}] * 2)
    run(carrying(shards, "all"))
    write(tmp_path, [{"doi": "right"}, {"doi": "wrong", "year": 1998}])
    assert counts(run(carrying(shards, "all")))["filled_in"] == 1
    assert [*carried(shards).values()] == [
        {"doi": "right", "year": 1998},
        {"doi": "wrong", "year": 1998},
    ]
    assert "filled_in" not in counts(run(carrying(shards, "all")))
    assert "filled_in" not in counts(run(carrying(shards, ["doi"])))


def test_only_what_a_run_selects_is_filled_in(shards):
    run(carrying(shards, []))
    document = run(carrying(shards, ["doi"]), only=[f"record_id={rows([2])[0]['record_id']}"])
    assert counts(document) == {"read": 1, "current": 1, "filled_in": 1}
    assert [bool(extra) for extra in carried(shards).values()].count(True) == 1


def test_failed_answers_are_filled_in_too_and_stay_failed(tmp_path):
    shards = write(tmp_path, [{"doi": "x", "recorded_answer": ""}])
    assert counts(run(carrying(shards, [])))["failed"] == 1
    filled = {"read": 1, "current": 1, "current_failed": 1, "filled_in": 1}
    assert counts(run(carrying(shards, "all"))) == filled
    assert [*carried(shards).values()] == [{"doi": "x"}]


def test_a_fill_that_is_killed_between_two_parts_is_finished_by_the_next_run(shards, monkeypatch):
    run(carrying(shards, [], rows_per_file=2))
    write_ = PartWriter.write_as_it_is
    left = iter([True, False])

    def killed(self, part, rows_):
        if not next(left):
            raise KeyboardInterrupt
        return write_(self, part, rows_)

    with monkeypatch.context() as patch:
        patch.setattr(PartWriter, "write_as_it_is", killed)
        assert run(carrying(shards, ["doi"], rows_per_file=2))["status"] == "interrupted"
    assert [bool(extra) for extra in carried(shards).values()].count(True) == 2
    assert counts(run(carrying(shards, ["doi"]))) == {"read": 6, "current": 6, "filled_in": 4}
    assert len({extra["doi"] for extra in carried(shards).values()}) == 6
    assert len(all_rows(shards)) == 12


def test_a_part_that_is_compacted_away_meanwhile_is_left_to_the_next_run(shards, monkeypatch):
    run(carrying(shards, [], rows_per_file=2))
    store = Storage().at(str(shards.parent / "store"))
    from pipeline.store import filling

    counting_rows = filling.counting_rows

    def then_compacted(folder):
        parts = counting_rows(folder)
        compact(store, NOW)
        return parts

    with monkeypatch.context() as patch:
        patch.setattr(filling, "counting_rows", then_compacted)
        assert counts(run(carrying(shards, ["doi"]))) == {"read": 6, "current": 6}
    assert counts(run(carrying(shards, ["doi"])))["filled_in"] == 6


def test_a_row_that_is_filled_in_takes_the_place_of_no_other_answer(shards, tmp_path):
    """The records were answered anew since, under another prompt."""
    run(carrying(shards, []))
    template = tmp_path / "other.md"
    template.write_text("---\nname: other\nversion: 1\n---\n{{ question }}\n")
    run(carrying(shards, [], prompt=str(template)))
    run(carrying(shards, ["doi"]))
    newest = read_rows(Storage().at(str(tmp_path / "store")), BY_RECORD)
    assert {name for t in newest for name in t["prompt_name"].to_pylist()} == {"other"}


def test_a_verdict_that_changed_meanwhile_is_not_lost(shards, tmp_path):
    """The row of a recheck is newer than the one that is filled in."""
    run(carrying(shards, []))
    recheck_store(carrying(shards, [], answer={"max_words": 2}), InProcess(), ignore)
    run(carrying(shards, ["doi"]))
    statuses = [s for t in read_rows(Storage().at(str(tmp_path / "store"))) for s in t["status"]]
    assert {s.as_py() for s in statuses} == {"failed"}
    assert all(carried(shards).values())


def test_records_of_one_id_have_each_its_own_columns(tmp_path):
    lines = rows([0, 1])
    for name, line in zip("ab", lines, strict=True):
        write_jsonl(tmp_path / f"shards/{name}.jsonl", [{**line, "record_id": "same", "doi": name}])
    shards = tmp_path / "shards"
    for carry in ([], ["doi"]):
        document = run(carrying(shards, carry))
    assert counts(document) == {"read": 2, "current": 2, "filled_in": 2}
    questions = {r["question"]: orjson.loads(r["extra"]) for r in all_rows(shards) if r["extra"]}
    assert questions == {line["question"]: {"doi": d} for line, d in zip(lines, "ab", strict=True)}
    assert counts(run(carrying(shards, ["doi"]))) == {"read": 2, "current": 2}


def test_records_that_say_the_same_have_each_its_own_columns(tmp_path):
    (line,) = rows([0])
    lines = [{**line, "record_id": f"r{n}", "doi": n} for n in range(3)]
    shards = write_jsonl(tmp_path / "shards/a.jsonl", lines).parent
    run(carrying(shards, []))
    run(carrying(shards, "all"))
    assert carried(shards) == {f"r{n}": {"doi": n} for n in range(3)}


def test_a_column_that_no_record_has_is_named_by_plan_and_run(shards):
    task = carrying(shards, ["doi", "titel", "venue.city"])
    for seen in (plan(task).totals.carried, run(task)["carried"], run(task)["carried"]):
        assert dict(seen) == {"doi": 6, "titel": 0, "venue.city": 0}
    (line,) = lines_about(seen)
    assert line.startswith("output.carry: no record has titel, venue.city;")
    assert lines_about(run(carrying(shards, ["doi"]))["carried"]) == []


def test_a_plan_says_how_many_rows_a_run_would_fill_in(shards):
    run(carrying(shards, []))
    assert plan(carrying(shards, ["doi"])).to_fill_in == 6
    run(carrying(shards, ["doi"]))
    assert plan(carrying(shards, ["doi"])).to_fill_in == 0


@settings(max_examples=25, deadline=None)
@given(st.lists(columns_of_a_user, min_size=1, max_size=4))
def test_any_columns_come_back_from_store_recheck_and_compaction(tmp_path_factory, columns):
    tmp_path = tmp_path_factory.mktemp("any")
    shards = write(tmp_path, columns)
    wanted = [own or None for own in columns]
    run(carrying(shards, []))
    assert counts(run(carrying(shards, "all"))).get("filled_in", 0) == sum(map(bool, columns))
    assert [*carried(shards).values()] == wanted
    assert "filled_in" not in counts(run(carrying(shards, "all")))
    recheck_store(carrying(shards, "all", answer={"max_words": 2}), InProcess(), ignore)
    assert [*carried(shards).values()] == wanted
    compact(Storage().at(str(tmp_path / "store")), NOW, drop_superseded=True)
    assert list(map(repr, carried(shards).values())) == list(map(repr, wanted))
    assert counts(run(carrying(shards, "all"))).get("filled_in", 0) == 0


def test_a_store_to_which_files_are_only_added_is_filled_in_too(shards):
    for carry in ([], ["doi"], ["doi"]):
        task = carrying(shards, carry)
        output = task.output.model_copy(update={"append_only": True})
        document = run(task.model_copy(update={"output": output}))
    assert counts(document) == {"read": 6, "current": 6}
    assert len({extra["doi"] for extra in carried(shards).values()}) == 6


def test_each_bucket_fills_in_its_own_rows(tmp_path):
    shards = write(tmp_path, [{"doi": n} for n in range(60)])
    halves = [{"uri": str(shards), "bucket": f"{n}/2"} for n in (1, 2)]
    run(carrying(shards, []))
    filled = [counts(run(carrying(shards, "all", input=half)))["filled_in"] for half in halves]
    assert sum(filled) == 60
    assert all(filled)
    assert all(carried(shards).values())
    assert "filled_in" not in counts(run(carrying(shards, "all")))


def test_rows_are_filled_in_on_a_cluster(shards, ray_cluster):
    run(carrying(shards, [], rows_per_file=2))
    assert counts(run_on_cluster(carrying(shards, ["doi"])))["filled_in"] == 6
    assert counts(run_on_cluster(carrying(shards, ["doi"]))) == {"read": 6, "current": 6}
