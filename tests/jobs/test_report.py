"""The page about a run: written at its end, by `report`, and for a comparison by `diff`."""

import json
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from jobs.run import main as run_job
from pipeline.config.loading import load_job
from pipeline.config.selection import EVERYTHING
from tests.support.jobs import job, job_file, rows, run, write_jsonl
from tests.support.stores import store_run


@pytest.fixture
def file(tmp_path) -> Path:
    return job_file(tmp_path / "job.yaml", job(tmp_path / "shards", tmp_path / "store"))


def pages(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "store").glob("runs/*/report.html"))


def test_a_run_ends_with_its_page(command, tmp_path, file, ray_cluster):
    write_jsonl(tmp_path / "shards" / "a.jsonl", rows(range(6)))
    done = command("run", file, "--json")
    document = json.loads(done.stdout)
    (page,) = pages(tmp_path)
    assert page.parent.name == document["run_id"]
    assert page.as_uri() in done.stderr
    assert done.returncode == 0


def test_a_run_succeeds_even_if_its_page_cannot_be_written(
    tmp_path, file, ray_cluster, monkeypatch
):
    def fails(*_: object) -> None:
        raise RuntimeError("out of ink")

    monkeypatch.setattr("jobs.run.write_report_at_end", fails)
    write_jsonl(tmp_path / "shards" / "a.jsonl", rows(range(6)))
    console = Console(file=StringIO(), soft_wrap=True)
    code, document = run_job(console, load_job(file), EVERYTHING, None, debug=False)
    assert (code, document["status"]) == (0, "done")
    assert "no report: RuntimeError: out of ink" in console.file.getvalue()


def test_report_writes_the_page_of_the_latest_run_or_of_the_one_named(command, tmp_path, file):
    task = job(tmp_path / "shards", tmp_path / "store")
    ids = [store_run(task, 30, days_ago=1), store_run(task, 40)]
    done = command("report", file, "--json")
    assert [p.parent.name for p in pages(tmp_path)] == ids[1:]
    assert json.loads(done.stdout) == {"report": pages(tmp_path)[0].as_uri()}
    command("report", file, "--run", ids[0])
    assert [p.parent.name for p in pages(tmp_path)] == ids


def test_an_unknown_run_is_refused_with_a_list_of_the_known_ones(command, tmp_path, file):
    assert "no store there" in command("report", file).stderr
    run_id = store_run(job(tmp_path / "shards", tmp_path / "store"), 30)
    unknown = command("report", file, "--run", "20200101T000000Z-0000")
    assert unknown.returncode == 2
    assert run_id in unknown.stderr


def test_diff_writes_a_page_to_the_path_in_html(command, tmp_path, file):
    write_jsonl(tmp_path / "shards" / "a.jsonl", rows(range(6)))
    orders = [
        job(tmp_path / "shards", tmp_path / "store", prompt=f"conf/prompts/{order}-first.md")
        for order in ("instructions", "context")
    ]
    sides = [run(order)["run_id"] for order in orders]
    page = tmp_path / "pages" / "changes.html"
    done = command("diff", file, "--from", sides[0], "--to", sides[1], "--html", page)
    assert done.returncode == 0
    assert page.read_text().startswith("<!doctype html>")
    assert page.as_uri() in done.stderr


def test_a_run_that_found_nothing_to_answer_has_a_page_too(command, tmp_path, file):
    store_run(job(tmp_path / "shards", tmp_path / "store"), 0)
    assert command("report", file).returncode == 0
    assert "The store has no answers." in pages(tmp_path)[0].read_text()
