import json
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from jobs.run import main as run_job
from pipeline.config.loading import load_job
from pipeline.config.selection import EVERYTHING
from tests.support.jobs import job, job_file, overnight, rows, run, write_jsonl
from tests.support.stores import store_run


@pytest.fixture
def file(tmp_path) -> Path:
    return job_file(tmp_path / "job.yaml", job(tmp_path / "shards", tmp_path / "store"))


def pages(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "store").glob("runs/*/report.html"))


def test_a_run_ends_with_its_page(tmp_path, file, ray_cluster):
    write_jsonl(tmp_path / "shards" / "a.jsonl", rows(range(6)))
    said = overnight("run", file, "--json", address=ray_cluster.address)
    document = json.loads(said.stdout)
    (page,) = pages(tmp_path)
    assert page.parent.name == document["run_id"]
    assert page.as_uri() in said.stderr
    assert said.returncode == 0


def test_a_page_that_cannot_be_written_makes_no_run_fail(tmp_path, file, ray_cluster, monkeypatch):
    def fails(*_: object) -> None:
        raise RuntimeError("out of ink")

    monkeypatch.setattr("jobs.run.write_report", fails)
    write_jsonl(tmp_path / "shards" / "a.jsonl", rows(range(6)))
    console = Console(file=StringIO(), soft_wrap=True)
    code, document = run_job(console, load_job(file), EVERYTHING, None, debug=False)
    assert (code, document["status"]) == (0, "done")
    assert "no report: RuntimeError: out of ink" in console.file.getvalue()


def test_report_writes_the_page_of_the_latest_run_or_of_the_one_that_is_named(tmp_path, file):
    night = job(tmp_path / "shards", tmp_path / "store")
    ids = [store_run(night, 30, days_ago=1), store_run(night, 40)]
    said = overnight("report", file, "--json")
    assert [p.parent.name for p in pages(tmp_path)] == ids[1:]
    assert json.loads(said.stdout) == {"report": pages(tmp_path)[0].as_uri()}
    overnight("report", file, "--run", ids[0])
    assert [p.parent.name for p in pages(tmp_path)] == ids


def test_a_run_that_is_not_there_is_told_with_those_that_are(tmp_path, file):
    assert "no run yet" in overnight("report", file).stderr
    run_id = store_run(job(tmp_path / "shards", tmp_path / "store"), 30)
    said = overnight("report", file, "--run", "20200101T000000Z-0000")
    assert said.returncode == 2
    assert run_id in said.stderr


def test_diff_writes_a_page_where_it_is_told(tmp_path, file):
    write_jsonl(tmp_path / "shards" / "a.jsonl", rows(range(6)))
    nights = [
        job(tmp_path / "shards", tmp_path / "store", prompt=f"conf/prompts/{order}-first.md")
        for order in ("instructions", "context")
    ]
    sides = [run(night)["run_id"] for night in nights]
    page = tmp_path / "pages" / "changes.html"
    said = overnight("diff", file, "--from", sides[0], "--to", sides[1], "--html", page)
    assert said.returncode == 0
    assert page.read_text().startswith("<!doctype html>")
    assert page.as_uri() in said.stderr


def test_a_run_that_found_nothing_to_answer_has_a_page_too(tmp_path, file):
    store_run(job(tmp_path / "shards", tmp_path / "store"), 0)
    assert overnight("report", file).returncode == 0
    assert "The store has no answers." in pages(tmp_path)[0].read_text()
