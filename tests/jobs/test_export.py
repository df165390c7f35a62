"""`overnight export --review` and the answers that `plan` says to look at first."""

import json
from pathlib import Path

import pytest

from tests.support.export_rows import checks
from tests.support.jobs import job, job_file, rows, run, write_jsonl
from tests.support.reading import readable, store_of


@pytest.fixture
def file(tmp_path) -> Path:
    return job_file(tmp_path / "job.yaml", job(tmp_path / "shards", tmp_path / "store"))


@pytest.fixture
def store(tmp_path) -> Path:
    missed = checks("echo")
    answers = [readable(f"r{n}", checks=missed if n < 4 else checks()) for n in range(20)]
    store_of(tmp_path / "store", answers)
    return tmp_path / "store"


@pytest.mark.usefixtures("store")
def test_a_reading_sheet_says_how_many_answers_and_rows_it_has(command, tmp_path, file):
    sheet = tmp_path / "sheet.csv"
    done = command("export", file, "--review", 20, "--to", sheet, "--json")
    document = json.loads(done.stdout)
    assert done.returncode == 0
    assert document == {"to": str(sheet), "rows": 24, "answers": 20, "seed": 0}
    assert len(sheet.read_text("utf-8-sig").splitlines()) >= 25
    assert "20 answers to read" in done.stderr


@pytest.mark.usefixtures("store")
def test_the_seed_decides_which_answers_a_sheet_has(command, tmp_path, file):
    sheets = {}
    for name, seed in (("default", 0), ("again", 0), ("other", 1)):
        sheet = tmp_path / f"{name}.csv"
        command("export", file, "--review", 5, "--seed", seed, "--to", sheet)
        sheets[name] = sheet.read_bytes()
    assert sheets["default"] == sheets["again"] != sheets["other"]


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--review", 5, "--to", "sheet.jsonl"], "--review writes only .csv, .xlsx"),
        (["--review", 0, "--to", "sheet.csv"], "--review 0"),
        (["--review", 5, "--to", "sheet.csv", "--wide"], "columns of its own"),
        (["--review", 5, "--to", "sheet.csv", "--raw"], "columns of its own"),
        (["--review", 5, "--to", "sheet.csv", "--columns", "doi"], "columns of its own"),
    ],
)
def test_options_that_do_not_go_with_a_sheet_are_refused(command, file, options, said):
    done = command("export", file, *options)
    assert done.returncode == 2
    assert said in done.stderr
    assert not Path("sheet.csv").exists()


def test_a_sheet_of_a_store_that_is_not_there_is_refused(command, tmp_path, file):
    done = command("export", file, "--review", 5, "--to", tmp_path / "sheet.csv")
    assert done.returncode == 2
    assert "no store there" in done.stderr


def test_plan_counts_the_answers_to_look_at_first(command, tmp_path, file):
    write_jsonl(tmp_path / "shards" / "a.jsonl", rows(range(6)))
    first = json.loads(command("plan", file, "--json").stdout)["look_here_first"]
    assert set(first.values()) <= {0}
    run(job(tmp_path / "shards", tmp_path / "store"))
    failed = readable("f", status="failed", failed_checks=["echo"], answers_question="unsure")
    store_of(tmp_path / "store", [failed, readable("u", answers_question="unsure")])
    done = command("plan", file, "--json")
    counts = json.loads(done.stdout)["look_here_first"]
    assert (counts["failed"], counts["unsupported"], counts["differing"]) == (1, 0, 0)
    assert counts["unsure"] >= 2
    assert f"look first at 1 failed, {counts['unsure']} unsure" in done.stderr
