"""`overnight correct`: rows in, rejects out, and what becomes of corrections afterwards."""

import json
from pathlib import Path

import pytest

from pipeline.config.loading import load_job
from tests.support.jobs import job, job_file, rows, run, stored, write_jsonl


@pytest.fixture
def job_path(tmp_path) -> Path:
    """A job that has answered six records."""
    shards = write_jsonl(tmp_path / "shards/a.jsonl", rows(range(6))).parent
    a_job = job(shards, tmp_path / "store", engine={"kind": "recorded"})
    run(a_job)
    return job_file(tmp_path / "job.yaml", a_job)


def written(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(["record_id,field,value,annotator", *lines]) + "\n")
    return path


def exported(command, job_path: Path) -> dict[str, str | None]:
    to = job_path.parent / "out.jsonl"
    done = command("export", job_path, "--to", to)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in to.read_text().splitlines()]
    return {row["record_id"]: row.get("human_answers_question") for row in lines}


def test_a_file_gets_in_once(command, job_path, tmp_path):
    file = written(tmp_path / "c.csv", "paper-0_Q0,answers_question,no,ana")
    first, second = (json.loads(command("correct", job_path, file, "--json").stdout) for _ in "ab")
    assert (first["added"], first["known"]) == (1, 0)
    assert (second["added"], second["known"]) == (0, 1)
    assert stored(tmp_path / "store", "corrections").num_rows == 1
    assert exported(command, job_path)["paper-0_Q0"] == "no"


def test_rejects_are_named_by_line_and_end_with_1(command, job_path, tmp_path):
    file = written(
        tmp_path / "c.csv",
        "paper-0_Q0,answers_question,no,ana",
        "paper-9_Q9,answers_question,no,ana",
        "paper-0_Q1,answers_question,perhaps,ana",
    )
    done = command("correct", job_path, file)
    assert done.returncode == 1
    assert f"{file}: line 3: record_id: no answer to 'paper-9_Q9'" in done.stderr
    assert f"{file}: line 4: value: 'perhaps' is not one of" in done.stderr
    assert "1 correction added" in done.stderr
    document = json.loads(command("correct", job_path, file, "--json").stdout)
    assert [reject["line"] for reject in document["rejects"]] == [3, 4]


def test_many_rejects_fill_no_screen_and_all_are_in_the_document(command, job_path, tmp_path):
    file = written(tmp_path / "c.csv", *["x,answers_question,no,ana"] * 200)
    done = command("correct", job_path, file, "--json")
    assert "… and 150 more, see --json" in done.stderr
    assert len(done.stderr.splitlines()) < 60
    assert len(json.loads(done.stdout)["rejects"]) == 200


def test_annotator_and_field_may_be_said_once(command, job_path, tmp_path):
    (tmp_path / "labels.csv").write_text("record_id,value\npaper-0_Q0,no\n")
    said = ("--annotator", "ben", "--field", "answers_question")
    assert command("correct", job_path, tmp_path / "labels.csv", *said).returncode == 0
    assert exported(command, job_path)["paper-0_Q0"] == "no"


@pytest.mark.parametrize(
    ("file", "said"),
    [("nowhere.csv", "no such file"), (".", "no such file"), ("c.xlsx", "not an Excel workbook")],
)
def test_a_file_that_cannot_be_read_ends_with_2(command, job_path, tmp_path, file, said):
    (tmp_path / "c.xlsx").write_bytes(b"PK")
    done = command("correct", job_path, tmp_path / file)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2


def test_a_store_that_is_not_there_ends_with_2(command, job_path, tmp_path):
    file = written(tmp_path / "c.csv")
    done = command("correct", job_path, file, f"output.uri={tmp_path / 'nowhere'}")
    assert done.returncode == 2
    assert "no store there" in done.stderr


def test_corrections_outlive_reruns_rechecks_and_compactions(command, job_path, tmp_path):
    file = written(tmp_path / "c.csv", "paper-0_Q0,answers_question,no,ana")
    command("correct", job_path, file)
    a_job = load_job(job_path)
    before = stored(tmp_path / "store", "corrections")
    for change in (
        lambda: run(a_job),
        lambda: run(a_job, retry=["failed"]),
        lambda: command("recheck", job_path, "checks.word_count=label", "answer.max_words=2"),
        lambda: command("compact", job_path, "--drop-superseded"),
    ):
        change()
        assert stored(tmp_path / "store", "corrections").equals(before)
        assert exported(command, job_path)["paper-0_Q0"] == "no"


def test_a_text_that_changes_makes_its_correction_stale_and_not_lost(command, job_path, tmp_path):
    """The same key, another answer: as after a retry, or a recheck that extracts it differently."""
    file = written(tmp_path / "c.csv", "paper-0_Q0,answers_question,no,ana")
    command("correct", job_path, file)
    document = json.loads(command("recheck", job_path, "answer.frame=none", "--json").stdout)
    assert document["changed"] > 0
    assert exported(command, job_path)["paper-0_Q0"] is None
    assert stored(tmp_path / "store", "corrections").num_rows == 1
    done = command("agreement", job_path, "--raters", "human")
    assert "there is no rater" in done.stderr


def test_in_an_append_only_store_nothing_is_overwritten(command, tmp_path):
    shards = write_jsonl(tmp_path / "shards/a.jsonl", rows(range(2))).parent
    output = {"uri": str(tmp_path / "store"), "append_only": True}
    a_job = job(shards, tmp_path / "store", engine={"kind": "recorded"}, output=output)
    run(a_job)
    path = job_file(tmp_path / "job.yaml", a_job)
    for value in ("no", "yes"):
        file = written(tmp_path / "c.csv", f"paper-0_Q0,answers_question,{value},ana")
        assert command("correct", path, file).returncode == 0
    assert len(list((tmp_path / "store/corrections").glob("part-*"))) == 2
    assert exported(command, path)["paper-0_Q0"] == "yes"


def test_a_store_that_refuses_the_part_has_none_of_the_file(command, job_path, tmp_path):
    """And the file can be taken in again: as after a kill before the part appears."""
    file = written(
        tmp_path / "c.csv",
        "paper-0_Q0,answers_question,no,ana",
        "paper-0_Q1,answers_question,no,ana",
    )
    in_the_way = tmp_path / "store/corrections"
    in_the_way.write_text("no folder")
    done = command("correct", job_path, file)
    assert done.returncode == 3
    in_the_way.unlink()
    document = json.loads(command("correct", job_path, file, "--json").stdout)
    assert document["added"] == 2
