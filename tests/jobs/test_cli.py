"""The commands as people and schedulers use them: exit codes, what goes to stdout and to stderr.

Most run in this process (`command`); a process of its own is there for what only that can show.
"""

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
from pipeline import __version__
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

LONG = 2_500
"""Records that take a run a few seconds."""


def write_job(folder: Path, records: int = 12, rows_per_file: int = 1000) -> Path:
    """A job file; shards and store are beside it."""
    write_jsonl(folder / "shards/a.jsonl", rows(range(records)))
    return job_file(
        folder / "job.yaml", job(folder / "shards", folder / "store", rows_per_file=rows_per_file)
    )


@pytest.fixture
def job_path(tmp_path) -> Path:
    """A job file for twelve records."""
    return write_job(tmp_path)


# In processes of their own.


@pytest.fixture(scope="module")
def first_run(tmp_path_factory) -> tuple[Path, CompletedProcess[str]]:
    """A job file, and the process of its run, which had no cluster to join."""
    path = write_job(tmp_path_factory.mktemp("first"))
    return path, overnight("run", path, "--json")


def test_run_starts_a_cluster_of_its_own_and_ends_with_0(first_run):
    path, done = first_run
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["counts"]["answered"] == 12
    assert stored(path.parent / "store").num_rows == 12
    assert "answered" in done.stderr


def test_without_json_everything_goes_to_stderr(job_path):
    done = overnight("plan", job_path)
    assert (done.returncode, done.stdout) == (0, "")
    assert "generate" in done.stderr


def test_storage_that_cannot_be_reached_ends_with_3(job_path):
    dead = f"storage.endpoint_url=http://127.0.0.1:{free_port()}"
    once = "storage.config_kwargs={retries: {max_attempts: 0}}"
    done = overnight("run", job_path, "input.uri=s3://bucket/records", dead, once)
    assert done.returncode == 3
    assert "s3://bucket/records" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.timeout(300)
def test_a_run_interrupted_by_ctrl_c_ends_with_130_and_the_next_one_finishes(tmp_path, ray_cluster):
    """A SIGTERM leaves it some time: tests/pipeline/runs/test_shutdown.py."""
    path, store = write_job(tmp_path, LONG, rows_per_file=200), tmp_path / "store"
    process = subprocess.Popen(
        [sys.executable, "-m", "jobs", "run", str(path)],
        cwd=ROOT,
        env={**os.environ, "RAY_ADDRESS": ray_cluster.address},
        stderr=subprocess.DEVNULL,
    )
    wait_for_parts(store, 2)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    (run_file,) = store.glob("runs/*/run.json")
    assert json.loads(run_file.read_text())["status"] == "interrupted"
    before = stored(store)["record_id"].to_pylist()
    assert 0 < len(before) < LONG
    document = run(load_job(path))
    assert document["counts"]["current"] == len(set(before))
    assert document["counts"]["answered"] == LONG - len(set(before))
    assert len(set(stored(store)["record_id"].to_pylist())) == LONG
    assert stored(store).num_rows == LONG


def wait_for_parts(store: Path, parts: int) -> None:
    for _ in range(1200):
        if len(list(store.glob("answers/part-*"))) >= parts:
            return
        time.sleep(0.05)
    raise TimeoutError(f"{store} never held {parts} parts")


def imported_by(*arguments: object) -> tuple[int, set[str]]:
    """The exit code of a command, and the packages that its process has imported."""
    code = (
        "import atexit, sys; from jobs.cli import main; "
        "atexit.register(lambda: print(*{name.partition('.')[0] for name in sys.modules})); main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, set(done.stdout.split())


def test_a_mistyped_job_file_is_refused_before_anything_heavy_is_imported(job_path):
    code, packages = imported_by("run", job_path, "engine.knd=vllm")
    assert code == 2
    assert "pydantic" in packages
    assert packages.isdisjoint({"ray", "pyarrow", "numpy", "torch"})


def test_a_small_plan_and_a_small_recheck_start_no_ray(job_path):
    code, packages = imported_by("plan", job_path)
    assert (code, "pyarrow" in packages, "ray" in packages) == (0, True, False)
    run(load_job(job_path))
    code, packages = imported_by("recheck", job_path, "answer.max_words=2")
    assert (code, "pyarrow" in packages, "ray" in packages) == (0, True, False)


# In this process.


def test_the_version_is_printed(command):
    done = command("--version")
    assert (done.returncode, done.stdout) == (0, f"overnight {__version__}\n")


def test_help_lists_shell_completion(command):
    assert "--install-completion" in command("--help").stdout


def test_plan_reports_work_tokens_and_rejects(command, job_path, tmp_path):
    (tmp_path / "shards/scan.pdf").write_bytes(b"%PDF")
    document = json.loads(command("plan", job_path, "--json").stdout)
    assert (document["work"], document["rejects"]) == (12, {"unknown_kind": 1})
    assert document["estimated_prompt_tokens"] > 0
    assert not (tmp_path / "store").exists()


def test_more_failures_than_the_budget_allows_end_with_1(command, tmp_path, ray_cluster):
    cut = [{**row, "recorded_answer": "There were herons at the"} for row in rows(range(2))]
    write_jsonl(tmp_path / "shards/a.jsonl", [*cut, *rows(range(2, 10))])
    path = job_file(
        tmp_path / "job.yaml",
        job(tmp_path / "shards", tmp_path / "store", engine={"kind": "recorded"}),
    )
    assert run(load_job(path, ["failure_budget=0.2"]))["status"] == "done"
    elsewhere = f"output.uri={tmp_path / 'other'}"
    strict = command("run", path, "failure_budget=0.19", elsewhere, "--json")
    assert strict.returncode == 1
    assert json.loads(strict.stdout)["counts"]["failed"] == 2


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("engine.knd=extractive", "engine.knd: unknown key; did you mean 'kind'?"),
        ("prompt=none.md", "none.md: the template cannot be read"),
        ("input.uri=nowhere/*.jsonl", "nowhere/*.jsonl: no file there"),
        ("checks.ecko=off", "checks.ecko: no such check; did you mean 'echo'?"),
        ("storage.key=abc", "storage.key: a job file holds no secrets"),
        ("input.uri=nofs://bucket/x", "nofs://bucket/x: no file system"),
    ],
)
def test_bad_configuration_ends_with_2_before_anything_starts(
    command, job_path, tmp_path, override, message
):
    done = command("run", job_path, override)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.strip().count("\n") <= 1
    assert not (tmp_path / "store").exists()


def test_a_mistyped_storage_option_ends_with_2(command, job_path):
    done = command("run", job_path, "input.uri=s3://bucket/x", "storage.endpont_url=http://x")
    assert done.returncode == 2
    assert "storage.endpont_url: no option of S3FileSystem; did you mean 'endpoint_url'?" in (
        done.stderr
    )


def test_unknown_commands_and_options_end_with_2(command, job_path):
    assert command("dream", job_path).returncode == 2
    assert command("run", job_path, "--fast").returncode == 2


def test_debug_shows_the_traceback(command, job_path):
    assert "Traceback" in command("run", job_path, "prompt=none.md", "--debug").stderr


def test_errors_are_json_too(command, job_path):
    done = command("run", job_path, "prompt=none.md", "--json")
    assert "none.md" in json.loads(done.stdout)["error"]


def test_a_bug_ends_with_3_and_one_line_and_never_as_a_finished_job(capfd):
    def broken(_: object) -> tuple[int, dict]:
        raise ZeroDivisionError("no such thing")

    with pytest.raises(typer.Exit) as ended:
        cli._finish(False, False, broken)
    assert ended.value.exit_code == 3
    assert capfd.readouterr().err == "error: ZeroDivisionError: no such thing; --debug says where\n"


@pytest.fixture(scope="module")
def answered(tmp_path_factory) -> Path:
    """The job file of twelve records that have been answered."""
    path = write_job(tmp_path_factory.mktemp("answered"))
    run(load_job(path))
    return path


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl", "xlsx"])
def test_export_writes_one_row_per_record(command, answered, tmp_path, ending):
    target = tmp_path / f"answers.{ending}"
    done = command("export", answered, "--to", target, "--json")
    assert json.loads(done.stdout)["rows"] == 12
    assert len(rows_in(target)) == 12
    assert {row["answer"] for row in rows_in(target)} == {
        f"At pond {n} we counted {n + 3} herons on their nests." for n in range(12)
    }


@pytest.mark.parametrize("ending", ["parquet", "xlsx"])
def test_a_wide_export_writes_one_row_per_paper(command, answered, tmp_path, ending):
    target = tmp_path / f"answers.{ending}"
    done = command("export", answered, "--to", target, "--wide", "--json")
    assert json.loads(done.stdout)["rows"] == 2
    assert "2 rows in" in done.stderr
    first, second = rows_in(target)
    assert (first["paper_id"], second["paper_id"]) == ("paper-0", "paper-1")
    assert first["Q2 answer"] == "At pond 2 we counted 5 herons on their nests."
    assert second["Q5 stance"] == "answered"


def test_export_prefixes_cells_that_a_spreadsheet_would_run_as_formulas(command, tmp_path):
    (row,) = rows([1])
    write_jsonl(tmp_path / "shards/a.jsonl", [{**row, "recorded_answer": '=HYPERLINK("x").'}])
    path = job_file(
        tmp_path / "job.yaml",
        job(tmp_path / "shards", tmp_path / "store", engine={"kind": "recorded"}),
    )
    run(load_job(path))
    command("export", path, "--to", tmp_path / "out.csv")
    assert rows_in(tmp_path / "out.csv")[0]["answer"] == '\'=HYPERLINK("x").'
    command("export", path, "--raw", "--to", tmp_path / "raw.csv")
    assert rows_in(tmp_path / "raw.csv")[0]["answer"] == '=HYPERLINK("x").'


def test_export_writes_only_the_columns_that_are_named(command, answered, tmp_path):
    command("export", answered, "--columns", "answer, record_id", "--to", tmp_path / "out.csv")
    assert [list(row) for row in rows_in(tmp_path / "out.csv")] == [["answer", "record_id"]] * 12


def test_export_of_an_unknown_column_ends_with_2(command, answered, tmp_path):
    done = command("export", answered, "--columns", "answr", "--to", tmp_path / "out.csv")
    assert done.returncode == 2
    assert "--columns answr: no such column; did you mean 'answer'?" in done.stderr


def test_a_wide_export_to_a_file_that_is_no_table_ends_with_2(command, job_path):
    done = command("export", job_path, "--to", "answers.jsonl", "--wide")
    assert done.returncode == 2
    assert "--wide writes only .csv, .parquet, .xlsx" in done.stderr


def test_export_to_an_unknown_kind_of_file_ends_with_2(command, job_path):
    done = command("export", job_path, "--to", "answers.docx")
    assert done.returncode == 2
    assert ".docx" in done.stderr


def rows_in(path: Path) -> list[dict]:
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    if path.suffix == ".xlsx":
        header, *cells = openpyxl.load_workbook(path)["answers"].iter_rows(values_only=True)
        return [dict(zip(header, row, strict=True)) for row in cells]
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file)) if path.suffix == ".csv" else [*map(json.loads, file)]


def test_the_doctor_finds_nothing_wrong_with_a_good_job(command, job_path, tmp_path, ray_cluster):
    done = command("doctor", job_path, "--json")
    assert done.returncode == 0
    diagnoses = json.loads(done.stdout)["findings"]
    assert [diagnosis["name"] for diagnosis in diagnoses] == [
        "engine",
        "model",
        "checks",
        "template",
        "input",
        "output",
        "records",
        "links",
        "cluster",
    ]
    assert all(diagnosis["ok"] for diagnosis in diagnoses)
    assert not list((tmp_path / "store").iterdir())


def test_the_doctor_goes_on_after_the_first_fault(command, job_path, ray_cluster):
    done = command("doctor", job_path, "prompt=none.md", "engine.replicas=99", "--json")
    assert done.returncode == 2
    wrong = {d["name"]: d["said"] for d in json.loads(done.stdout)["findings"] if not d["ok"]}
    assert set(wrong) == {"template", "records", "cluster"}
    assert "99 replicas" in wrong["cluster"]


@pytest.fixture(scope="module")
def edited(tmp_path_factory) -> Path:
    """A job answered under two versions of its prompt; its store is for reading."""
    folder = tmp_path_factory.mktemp("edited")
    path, template = write_job(folder), folder / "trial.md"
    for version, text in ((1, "{{ question }}"), (2, "{{ question }} Say how many.")):
        template.write_text(f"---\nname: trial\nversion: {version}\n---\n{text}\n")
        trial = load_job(path, [f"prompt={template}"])
        assert plan(trial).totals.standings["work"] == 12
        assert run(trial)["status"] == "done"
    return path


def test_plan_names_and_shows_what_changed_and_estimates_its_cost(command, edited, tmp_path):
    template = tmp_path / "trial.md"
    hostile = "{{ question }} Say\x1b[2J how few."
    template.write_text(f"---\nname: trial\nversion: 3\n---\n{hostile}\n")
    options = (f"prompt={template}", "--examples", "10", "--rate", "1000", "--json")
    done = command("plan", edited, *options)
    assert "prompt: trial 2 → trial 3" in done.stderr
    assert "GPU-hours at 1,000 tokens per second" in done.stderr
    assert "\x1b[2J" not in done.stderr
    document = json.loads(done.stdout)
    (cause,) = document["causes"]
    assert (cause["cause"], cause["changes"], cause["records"]) == ("changed", ["prompt"], 12)
    assert (cause["before"]["prompt_version"], cause["now"]["prompt_version"]) == ("2", "3")
    assert len(document["examples"]) == 10
    removed, added = document["examples"][0]["diff"][-2:]
    assert removed.endswith("Say how many.")
    assert added.endswith("how few.")
    assert document["gpu_hours"] > 0
    assert document["parts"] == 1


def test_run_can_be_restricted_to_a_few_records_of_one_paper(
    command, job_path, tmp_path, ray_cluster
):
    two = command("run", job_path, "--only", "paper_id=paper-1", "--limit", "2", "--json")
    assert json.loads(two.stdout)["counts"]["answered"] == 2
    assert set(stored(tmp_path / "store")["paper_id"].to_pylist()) == {"paper-1"}


def test_a_mistyped_check_to_retry_ends_with_2(command, job_path):
    wrong = command("run", job_path, "--retry", "failed:eco")
    assert wrong.returncode == 2
    assert "did you mean 'echo'?" in wrong.stderr


def test_diff_compares_two_versions_of_a_prompt(command, edited):
    done = command("diff", edited, "--from", "1", "--to", "trial@2", "--json")
    assert done.returncode == 0, done.stderr
    assert "12 records on both sides" in done.stderr
    document = json.loads(done.stdout)
    assert document["records"] == {"both": 12, "only_from": 0, "only_to": 0}
    assert document["answers"] == {"same": 12}
    assert command("diff", edited, "--from", "1", "--to", "7").returncode == 2


def test_recheck_lists_what_changed_and_compact_leaves_one_part(command, edited, tmp_path):
    shutil.copytree(edited.parent / "store", tmp_path / "store")
    here = f"output.uri={tmp_path / 'store'}"
    rechecked = json.loads(command("recheck", edited, here, "answer.max_words=2", "--json").stdout)
    assert rechecked["rows"] == 24
    assert rechecked["now_failed"] == rechecked["changed"] == len(rechecked["verdicts"]) > 0
    assert all("word_count" in v["now"]["missed_checks"] for v in rechecked["verdicts"])
    compacted = json.loads(command("compact", edited, here, "--drop-superseded", "--json").stdout)
    assert (compacted["parts_before"] > 2, compacted["parts_after"]) == (True, 1)
    assert compacted["superseded_dropped"] == rechecked["changed"]
    assert stored(tmp_path / "store").num_rows == 24


@pytest.mark.parametrize(
    "arguments",
    [
        ["export", "--to", "x.csv"],
        ["report"],
        ["compact"],
        ["recheck"],
        ["diff", "--from", "a", "--to", "b"],
    ],
)
def test_what_reads_a_store_says_that_none_is_there(command, arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_jsonl(tmp_path / "in/a.jsonl", rows(range(2)))
    path = job_file(tmp_path / "job.yaml", job(tmp_path / "in", tmp_path / "stoer"))
    name, *options = arguments
    ended = command(name, path, *options)
    assert ended.returncode == 2
    assert f"output.uri: {(tmp_path / 'stoer').as_uri()}: no store there" in ended.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in", "job.yaml"]
