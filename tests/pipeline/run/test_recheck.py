"""Stored completions judged again: what changes is stored anew, everything else stays."""

import json
from pathlib import Path

import pytest

from pipeline.cluster.in_process import InProcess
from pipeline.run.recheck import recheck_store
from tests.support.jobs import ignore, job, rows, run, stored, write_jsonl

TEMPLATE = (
    "---\nname: trial\nversion: 1\n---\nWrite one plain sentence about what was seen there.\n"
)


@pytest.fixture
def night(tmp_path):
    """Ten recorded answers: one of twelve words, one that repeats the template, the rest short."""
    said = [
        "There were three herons and two storks at the pond that day.",
        "Write one plain sentence about what was seen there.",
        *["There were three."] * 8,
    ]
    lines = [{**row, "recorded_answer": a} for row, a in zip(rows(range(10)), said, strict=True)]
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


def test_the_same_checks_change_nothing_and_write_nothing(night, tmp_path):
    run(night())
    _, found = recheck(night())
    assert (found.rows, found.verdicts) == (10, [])
    assert stored(tmp_path / "store").num_rows == 10


def test_a_lower_limit_fails_what_is_longer_and_that_is_work_when_asked(night, tmp_path):
    assert run(night())["counts"]["failed"] == 1
    lower = night(answer={"max_words": 8})
    run_id, found = recheck(lower)
    changed = {v.record_id: v for v in found.verdicts}
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


def test_a_check_that_is_off_lets_a_failed_answer_pass(night):
    run(night())
    _, found = recheck(night(checks={"echo": "off"}))
    (verdict,) = [v for v in found.verdicts if v.status[0] == "failed"]
    assert verdict.status == ("failed", "answered")
    assert run(night())["counts"]["current_failed"] == 0


def test_the_template_s_own_words_are_known_from_the_run(night, tmp_path):
    """The template may have gone to another version since: rows are held against their own."""
    run(night(checks={"echo": "off"}))
    (tmp_path / "trial.md").write_text(TEMPLATE.replace("version: 1", "version: 2"))
    _, found = recheck(night())
    assert [v.status for v in found.verdicts if v.status[0] != v.status[1]] == [
        ("answered", "failed")
    ]


def test_a_recheck_is_recorded_among_the_runs(night, tmp_path):
    run(night())
    run_id, _ = recheck(night())
    held = json.loads((tmp_path / f"store/runs/{run_id}/run.json").read_text())
    assert (held["command"], held["status"]) == ("recheck", "done")


def test_an_empty_store_has_nothing_to_judge(night):
    _, found = recheck(night())
    assert found.rows == 0
