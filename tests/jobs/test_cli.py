"""The commands as a scheduler and a person use them: each in a process of its own."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from subprocess import CompletedProcess

import openpyxl
import pyarrow.parquet as pq
import pytest
import typer

from jobs import cli
from pipeline.config.loading import load_job
from tests.support.jobs import (
    ROOT,
    free_port,
    job,
    job_file,
    overnight,
    plan,
    rows,
    run,
    stored,
    write_jsonl,
)

LONG = 4_000
"""Records that take a run some seconds."""


def night_in(folder: Path, records: int = 12, rows_per_file: int = 1000) -> Path:
    """A job file; shards and store are beside it."""
    write_jsonl(folder / "shards/a.jsonl", rows(range(records)))
    return job_file(
        folder / "job.yaml", job(folder / "shards", folder / "store", rows_per_file=rows_per_file)
    )


@pytest.fixture
def night(tmp_path) -> Path:
    """A job file for twelve records."""
    return night_in(tmp_path)


@pytest.fixture
def long_night(tmp_path) -> Path:
    """A job file for records that take a few seconds, so that a run can be stopped half way."""
    return night_in(tmp_path, LONG, rows_per_file=200)


@pytest.fixture(scope="session")
def address(ray_cluster) -> str:
    return ray_cluster.address


@pytest.fixture(scope="module")
def first_run(tmp_path_factory) -> tuple[Path, CompletedProcess[str]]:
    """A job file and what its run said, which had no cluster to join."""
    night = night_in(tmp_path_factory.mktemp("first"))
    return night, overnight("run", night, "--json")


def test_run_starts_a_cluster_of_its_own_and_ends_with_0(first_run):
    night, done = first_run
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["counts"]["answered"] == 12
    assert stored(night.parent / "store").num_rows == 12
    assert "answered" in done.stderr


def test_without_json_nothing_goes_to_stdout(night, address):
    done = overnight("plan", night, address=address)
    assert (done.returncode, done.stdout) == (0, "")
    assert "generate" in done.stderr


def test_plan_tells_work_tokens_and_rejects(night, tmp_path, address):
    (tmp_path / "shards/scan.pdf").write_bytes(b"%PDF")
    document = json.loads(overnight("plan", night, "--json", address=address).stdout)
    assert (document["work"], document["rejects"]) == (12, {"unknown_kind": 1})
    assert document["estimated_prompt_tokens"] > 0
    assert not (tmp_path / "store").exists()


def test_more_failures_than_the_budget_allows_end_with_1(tmp_path, address):
    cut = [{**row, "recorded_answer": "There were herons at the"} for row in rows(range(2))]
    write_jsonl(tmp_path / "shards/a.jsonl", [*cut, *rows(range(2, 10))])
    file = job_file(
        tmp_path / "job.yaml",
        job(tmp_path / "shards", tmp_path / "store", engine={"kind": "recorded"}),
    )
    assert run(load_job(file, ["failure_budget=0.2"]))["status"] == "done"
    elsewhere = f"output.uri={tmp_path / 'other'}"
    strict = overnight("run", file, "failure_budget=0.19", elsewhere, "--json", address=address)
    assert strict.returncode == 1
    assert json.loads(strict.stdout)["counts"]["failed"] == 2


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("engine.knd=extractive", "engine.knd: unknown key; did you mean 'kind'?"),
        ("prompt=none.md", "none.md: the template cannot be read"),
        ("input.uri=nowhere/*.jsonl", "nowhere/*.jsonl: no file there"),
        ("checks.ecko=off", "checks.ecko: no such check; did you mean 'echo'?"),
        ("storage.key=abc", "storage.key: a job file holds no secrets"),
        ("input.uri=nofs://bucket/x", "nofs://bucket/x: no file system"),
    ],
)
def test_bad_configuration_ends_with_2_before_anything_starts(night, tmp_path, override, said):
    done = overnight("run", night, override)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.strip().count("\n") <= 1
    assert not (tmp_path / "store").exists()


def test_a_misspelt_storage_option_ends_with_2(night):
    done = overnight("run", night, "input.uri=s3://bucket/x", "storage.endpont_url=http://x")
    assert done.returncode == 2
    assert "storage.endpont_url: no option of S3FileSystem; did you mean 'endpoint_url'?" in (
        done.stderr
    )


def test_unknown_commands_and_options_end_with_2(night):
    assert overnight("dream", night).returncode == 2
    assert overnight("run", night, "--fast").returncode == 2


def test_storage_that_cannot_be_reached_ends_with_3(night):
    dead = f"storage.endpoint_url=http://127.0.0.1:{free_port()}"
    once = "storage.config_kwargs={retries: {max_attempts: 0}}"
    done = overnight("run", night, "input.uri=s3://bucket/records", dead, once)
    assert done.returncode == 3
    assert "s3://bucket/records" in done.stderr
    assert "Traceback" not in done.stderr


def test_debug_shows_the_traceback(night):
    done = overnight("run", night, "prompt=none.md", "--debug")
    assert "Traceback" in done.stderr


def test_errors_are_json_too(night):
    done = overnight("run", night, "prompt=none.md", "--json")
    assert "none.md" in json.loads(done.stdout)["error"]


def test_a_run_interrupted_by_ctrl_c_ends_with_130_and_the_next_one_finishes(
    long_night, tmp_path, address
):
    """A SIGTERM leaves it some time: tests/pipeline/run/test_shutdown.py."""
    store = tmp_path / "store"
    process = _start("run", long_night, address=address)
    _wait_for_parts(store, 2)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    (run_file,) = store.glob("runs/*/run.json")
    assert json.loads(run_file.read_text())["status"] == "interrupted"
    _finishes(long_night, store, LONG, address)


def _start(*arguments: object, address: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "jobs", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "RAY_ADDRESS": address},
        stderr=subprocess.DEVNULL,
    )


def _parts(store: Path) -> list[Path]:
    return list(store.glob("answers/part-*"))


def _wait_for_parts(store: Path, parts: int) -> None:
    for _ in range(1200):
        if len(_parts(store)) >= parts:
            return
        time.sleep(0.05)
    raise TimeoutError(f"{store} never held {parts} parts")


def _finishes(file: Path, store: Path, records: int, address: str) -> None:
    """The next run does what is left and no more; then every record is there once."""
    before = stored(store)["record_id"].to_pylist()
    assert 0 < len(before) < records
    document = json.loads(overnight("run", file, "--json", address=address).stdout)
    assert document["counts"]["current"] == len(set(before))
    assert document["counts"]["answered"] == records - len(set(before))
    assert len(set(stored(store)["record_id"].to_pylist())) == records
    assert stored(store).num_rows == records


@pytest.fixture(scope="module")
def morning(first_run) -> Path:
    """The job file of twelve records, which have been answered."""
    return first_run[0]


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl", "xlsx"])
def test_export_writes_a_row_a_record(morning, tmp_path, ending):
    target = tmp_path / f"answers.{ending}"
    done = overnight("export", morning, "--to", target, "--json")
    assert json.loads(done.stdout)["rows"] == 12
    assert len(_read(target)) == 12
    assert {r["answer"] for r in _read(target)} == {
        f"At pond {n} we counted {n + 3} herons on their nests." for n in range(12)
    }


@pytest.mark.parametrize("ending", ["parquet", "xlsx"])
def test_export_writes_a_row_a_paper_where_it_is_to_be_wide(morning, tmp_path, ending):
    target = tmp_path / f"answers.{ending}"
    done = overnight("export", morning, "--to", target, "--wide", "--json")
    assert json.loads(done.stdout)["rows"] == 2
    assert "2 rows in" in done.stderr
    first, second = _read(target)
    assert (first["paper_id"], second["paper_id"]) == ("paper-0", "paper-1")
    assert first["Q2 answer"] == "At pond 2 we counted 5 herons on their nests."
    assert second["Q5 stance"] == "answered"


def test_export_defuses_what_a_spreadsheet_would_run(tmp_path, ray_cluster):
    (row,) = rows([1])
    write_jsonl(tmp_path / "shards/a.jsonl", [{**row, "recorded_answer": '=HYPERLINK("x").'}])
    file = job_file(
        tmp_path / "job.yaml",
        job(tmp_path / "shards", tmp_path / "store", engine={"kind": "recorded"}),
    )
    run(load_job(file))
    overnight("export", file, "--to", tmp_path / "out.csv")
    assert _read(tmp_path / "out.csv")[0]["answer"] == '\'=HYPERLINK("x").'


def test_a_wide_export_to_an_ending_that_is_no_table_ends_with_2(night):
    done = overnight("export", night, "--to", "answers.jsonl", "--wide")
    assert done.returncode == 2
    assert "--wide writes only .csv, .parquet, .xlsx" in done.stderr


def test_export_to_an_unknown_ending_ends_with_2(night):
    done = overnight("export", night, "--to", "answers.docx")
    assert done.returncode == 2
    assert ".docx" in done.stderr


def _read(path: Path) -> list[dict]:
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    if path.suffix == ".xlsx":
        header, *cells = openpyxl.load_workbook(path)["answers"].iter_rows(values_only=True)
        return [dict(zip(header, row, strict=True)) for row in cells]
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file)) if path.suffix == ".csv" else [*map(json.loads, file)]


def test_the_doctor_finds_nothing_wrong_with_a_good_job(night, tmp_path, address):
    done = overnight("doctor", night, "--json", address=address)
    assert done.returncode == 0
    findings = json.loads(done.stdout)["findings"]
    assert [f["name"] for f in findings] == [
        "engine",
        "model",
        "checks",
        "template",
        "input",
        "records",
        "output",
        "links",
        "cluster",
    ]
    assert all(f["ok"] for f in findings)
    assert not list((tmp_path / "store").iterdir())


def test_the_doctor_goes_on_after_the_first_fault(night, address):
    done = overnight(
        "doctor", night, "prompt=none.md", "engine.replicas=99", "--json", address=address
    )
    assert done.returncode == 2
    wrong = {f["name"]: f["said"] for f in json.loads(done.stdout)["findings"] if not f["ok"]}
    assert set(wrong) == {"template", "records", "cluster"}
    assert "99 replicas" in wrong["cluster"]


def test_a_bug_ends_with_3_and_one_line_and_never_as_a_job_that_was_done(capfd):
    def broken(_: object) -> tuple[int, dict]:
        raise ZeroDivisionError("no such thing")

    with pytest.raises(typer.Exit) as ended:
        cli._finish(False, False, broken)
    assert ended.value.exit_code == 3
    assert capfd.readouterr().err == "error: ZeroDivisionError: no such thing; --debug says where\n"


@pytest.fixture(scope="module")
def edited(tmp_path_factory, address) -> Path:
    """A job like `night`, answered under two versions of its prompt; its store is for reading."""
    folder = tmp_path_factory.mktemp("edited")
    night, template = night_in(folder), folder / "trial.md"
    for version, text in ((1, "{{ question }}"), (2, "{{ question }} Say how many.")):
        template.write_text(f"---\nname: trial\nversion: {version}\n---\n{text}\n")
        trial = load_job(night, [f"prompt={template}"])
        assert plan(trial).totals.standings["work"] == 12
        assert run(trial)["status"] == "done"
    return night


def test_plan_names_what_changed_shows_it_and_says_what_it_costs(edited, tmp_path, address):
    template = tmp_path / "trial.md"
    hostile = "{{ question }} Say\x1b[2J how few."
    template.write_text(f"---\nname: trial\nversion: 3\n---\n{hostile}\n")
    asked = ("plan", edited, f"prompt={template}", "--examples", "10", "--rate", "1000")
    done = overnight(*asked, "--json", address=address)
    assert "prompt: trial 2 → trial 3" in done.stderr
    assert "GPU-hours at 1,000 tokens a second" in done.stderr
    assert "\x1b[2J" not in done.stderr
    held = json.loads(done.stdout)
    (cause,) = held["causes"]
    assert (cause["cause"], cause["changes"], cause["records"]) == ("changed", ["prompt"], 12)
    assert (cause["before"]["prompt_version"], cause["now"]["prompt_version"]) == ("2", "3")
    assert len(held["examples"]) == 10
    removed, added = held["examples"][0]["diff"][-2:]
    assert removed.endswith("Say how many.")
    assert added.endswith("how few.")
    assert held["gpu_hours"] > 0
    assert held["parts"] == 1


def test_run_takes_a_few_records_of_a_few_papers_first(night, tmp_path, address):
    asked = ("--only", "paper_id=paper-1", "--limit", "2")
    two = overnight("run", night, *asked, "--json", address=address)
    assert json.loads(two.stdout)["counts"]["answered"] == 2
    assert set(stored(tmp_path / "store")["paper_id"].to_pylist()) == {"paper-1"}
    wrong = overnight("run", night, "--retry", "failed:eco", address=address)
    assert wrong.returncode == 2
    assert "did you mean 'echo'?" in wrong.stderr


def test_diff_compares_two_versions_of_a_prompt(edited, address):
    asked = ("diff", edited, "--from", "1", "--to", "trial@2")
    done = overnight(*asked, "--json")
    assert done.returncode == 0, done.stderr
    assert "12 records on both sides" in done.stderr
    document = json.loads(done.stdout)
    assert document["records"] == {"both": 12, "only_from": 0, "only_to": 0}
    assert document["answers"] == {"same": 12}
    wrong = overnight("diff", edited, "--from", "1", "--to", "7")
    assert wrong.returncode == 2


def test_recheck_lists_what_changed_and_compact_leaves_one_part(edited, tmp_path, address):
    shutil.copytree(edited.parent / "store", tmp_path / "store")
    here = f"output.uri={tmp_path / 'store'}"
    lower = ("recheck", edited, here, "answer.max_words=2", "--json")
    document = json.loads(overnight(*lower, address=address).stdout)
    assert document["rows"] == 24
    assert document["now_failed"] == document["changed"] == len(document["verdicts"]) > 0
    assert document["verdicts"][0]["now"]["missed_checks"] == ["word_count"]
    compacted = overnight("compact", edited, here, "--drop-superseded", "--json")
    done = json.loads(compacted.stdout)
    assert (done["parts_before"] > 2, done["parts_after"]) == (True, 1)
    assert done["superseded_dropped"] == document["changed"]
    assert stored(tmp_path / "store").num_rows == 24
