"""Stored completions are evaluated again: changed rows are stored anew, all others stay."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.cluster.in_process import InProcess
from pipeline.runs.recheck import recheck_store
from pipeline.store import read_answers
from tests.support.jobs import ignore, job, rows, run, stored, write_jsonl

TEMPLATE = (
    "---\nname: trial\nversion: 1\n---\nWrite one plain sentence about what was seen there.\n"
)


@pytest.fixture
def task(tmp_path):
    """Ten recorded answers: one of twelve words, one that repeats the template, the rest short."""
    answers = [
        "There were three herons and two storks at the pond that day.",
        "Write one plain sentence about what was seen there.",
        *["There were three."] * 8,
    ]
    recorded = zip(rows(range(10)), answers, strict=True)
    lines = [{**row, "recorded_answer": answer} for row, answer in recorded]
    write_jsonl(tmp_path / "shards/a.jsonl", lines)
    (tmp_path / "trial.md").write_text(TEMPLATE)

    def with_(**sections):
        return job(
            tmp_path / "shards",
            tmp_path / "store",
            prompt=str(tmp_path / "trial.md"),
            engine={"kind": "recorded"},
            **sections,
        )

    return with_


def recheck(job_):
    return recheck_store(job_, InProcess(), ignore)


def newest(store: Path) -> dict[str, dict]:
    ordered = sorted(stored(store).to_pylist(), key=lambda row: row["written_at"])
    return {row["record_id"]: row for row in ordered}


def test_the_same_checks_change_nothing_and_write_nothing(task, tmp_path):
    run(task())
    _, changes = recheck(task())
    assert (changes.rows, changes.verdicts) == (10, [])
    assert stored(tmp_path / "store").num_rows == 10


def test_a_lower_limit_fails_longer_answers_which_can_be_retried(task, tmp_path):
    assert run(task())["counts"]["failed"] == 1
    lower = task(answer={"max_words": 8})
    run_id, changes = recheck(lower)
    changed = {v.record_id: v for v in changes.verdicts}
    long, echo = (r["record_id"] for r in rows(range(2)))
    assert changed[long].status == ("answered", "failed")
    assert changed[long].missed[1] == (*changed[long].missed[0], "word_count")
    assert changed[echo].status == ("failed", "failed")
    row = newest(tmp_path / "store")[long]
    assert (row["status"], row["failed_checks"], row["run_id"]) == (
        "failed",
        ["word_count"],
        run_id,
    )
    assert row["attempts"][0]["failed_checks"] == ["word_count"]
    first = stored(tmp_path / "store").to_pylist()[0]
    generated = ("completion", "messages", "prompt_key", "source_uri", "engine", "prompt_tokens")
    assert all(row[name] == first[name] for name in generated)
    assert run(lower)["counts"]["current_failed"] == 2
    assert run(lower, retry=["failed:word_count"])["counts"]["failed"] == 2


def test_a_check_that_is_off_lets_a_failed_answer_pass(task):
    run(task())
    _, changes = recheck(task(checks={"echo": "off"}))
    (verdict,) = [v for v in changes.verdicts if v.status[0] == "failed"]
    assert verdict.status == ("failed", "answered")
    assert run(task())["counts"]["current_failed"] == 0


def test_the_template_s_own_words_are_those_of_the_run(task, tmp_path):
    """Rows are compared with the version of the template that made them."""
    run(task(checks={"echo": "off"}))
    (tmp_path / "trial.md").write_text(TEMPLATE.replace("version: 1", "version: 2"))
    _, changes = recheck(task())
    assert [v.status for v in changes.verdicts if v.status[0] != v.status[1]] == [
        ("answered", "failed")
    ]


def test_a_recheck_is_recorded_among_the_runs(task, tmp_path):
    run(task())
    run_id, _ = recheck(task())
    document = json.loads((tmp_path / f"store/runs/{run_id}/run.json").read_text())
    assert (document["command"], document["status"]) == ("recheck", "done")


def test_an_empty_store_has_nothing_to_recheck(task):
    _, changes = recheck(task())
    assert changes.rows == 0


@pytest.fixture
def without_verdicts(task, tmp_path) -> Path:
    """A store whose rows do not say whether they answer, as an earlier release wrote them."""
    run(task())
    (part,) = (tmp_path / "store/answers").glob("part-*.parquet")
    table = pq.read_table(part).drop(["answers_question", "p_answered"])
    pq.write_table(table, part)
    return tmp_path / "store"


def test_a_recheck_says_of_older_answers_whether_they_answer(task, without_verdicts):
    assert read_answers(str(without_verdicts)).to_table()["p_answered"].null_count == 10
    _, changes = recheck(task())
    assert {v.answers_question[0] for v in changes.verdicts} == {None}
    rows_ = read_answers(str(without_verdicts)).to_table().to_pylist()
    assert {v.record_id: v.answers_question[1] for v in changes.verdicts} == {
        row["record_id"]: row["answers_question"] for row in rows_
    }
    assert all(0 <= row["p_answered"] <= 1 for row in rows_)
    assert recheck(task())[1].verdicts == []


def test_another_probability_alone_is_a_change_of_the_row(task, tmp_path):
    run(task())
    (part,) = (tmp_path / "store/answers").glob("part-*.parquet")
    table = pq.read_table(part)
    at = table.schema.get_field_index("p_answered")
    other = pa.array([0.5] * table.num_rows, pa.float32())
    pq.write_table(table.set_column(at, "p_answered", other), part)
    told = {row["p_answered"] for row in newest(tmp_path / "store").values()}
    assert told == {0.5}
    _, changes = recheck(task())
    assert len(changes.verdicts) == 10
    assert 0.5 not in {row["p_answered"] for row in newest(tmp_path / "store").values()}


def test_an_answer_without_prose_has_no_verdict(task, tmp_path):
    run(task(answer={"choices": ["three", "none"]}))
    found = stored(tmp_path / "store")
    assert found["answers_question"].null_count == found["p_answered"].null_count == 10
