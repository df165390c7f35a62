"""Checks of the user's own in whole runs: stored, shown, exported, rechecked, on a cluster."""

import csv
import json
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from jobs.cli import app
from pipeline.answering.checks.base import NotStored
from pipeline.answering.past_runs import PastRuns
from pipeline.cluster.in_process import InProcess
from pipeline.config.schema import Job
from pipeline.core.filesystem import Storage
from pipeline.results.export.files import export_papers
from pipeline.results.pages.run_page import write_report
from pipeline.runs.doctor import Diagnosis, diagnose
from pipeline.runs.recheck import recheck_store
from tests.pipeline.runs.test_recheck import newest
from tests.support.jobs import (
    counts,
    ignore,
    job,
    job_file,
    overnight,
    rows,
    run,
    stored,
    write_jsonl,
)

COUNTS = """
from pipeline.answering.checks import Finding
def test(subject):
    return Finding(subject.word_count > 3, f"{subject.word_count} words")
"""
QUOTES = """
from pipeline.answering.checks import Finding
def test(subject):
    texts = [passage.text for passage in subject.passages]
    number = subject.answer.split()[2]
    return Finding(any(number in text for text in texts), f"{number}, {subject.extra['doi']}")
"""
PAGE = {"pattern": "pond [0-4]\\b", "level": "label"}


@pytest.fixture
def task(tmp_path):
    """Ten recorded answers, `There were 3 herons at pond 0.` and so on, with a DOI each."""
    lines = [{**row, "doi": f"10.1000/{n}"} for n, row in enumerate(rows(range(10)))]
    write_jsonl(tmp_path / "shards/a.jsonl", lines)

    def with_(source: str | None = None, **checks):
        file = tmp_path / "own.py"
        if source is not None:
            file.write_text(source)
        every = {str(file): "fail", "page": PAGE, **checks}
        return job(
            tmp_path / "shards", tmp_path / "store", engine={"kind": "recorded"}, checks=every
        )

    return with_


def recheck(job_):
    return recheck_store(job_, InProcess(), ignore)


def verdicts(store: Path, check: str) -> list[bool]:
    return [
        c["passed"] for row in newest(store).values() for c in row["checks"] if c["name"] == check
    ]


def test_a_run_stores_what_own_checks_saw_and_their_digests(task, tmp_path):
    document = run(task(QUOTES))
    assert counts(document) == {"read": 10, "answered": 10}
    assert document["checks_missed"] == {"page": 5}
    assert document["own_checks"] == {
        "own": blake2b(QUOTES.encode(), digest_size=8).hexdigest(),
        "page": document["own_checks"]["page"],
    }
    row = newest(tmp_path / "store")["paper-0_Q2"]
    assert {"name": "own", "passed": True, "level": "fail", "evidence": "5, 10.1000/2"} in row[
        "checks"
    ]


def test_a_fault_in_a_check_fails_answers_and_never_the_run(task, tmp_path):
    document = run(task("def test(subject):\n    return subject.nothing\n"))
    assert (document["status"], counts(document)["failed"]) == ("over_budget", 10)
    assert document["failed_checks"] == {"own": 10}
    own = tmp_path / "own.py"
    for row in newest(tmp_path / "store").values():
        (evidence,) = (c["evidence"] for c in row["checks"] if c["name"] == "own")
        assert evidence.startswith(f"{own}:2: AttributeError: ")


def test_failed_answers_of_an_own_check_can_be_retried(task):
    run(task("def test(subject):\n    return None\n"))
    assert counts(run(task(COUNTS), retry=["failed"]))["answered"] == 10


def test_page_and_export_show_own_checks_like_ours(task, tmp_path):
    run(task(COUNTS))
    store = Storage().at(str(tmp_path / "store"))
    html = Path(write_report(store, task()).path).read_text(encoding="utf-8")
    for name in ("own", "page", "echo"):
        assert f'data-figure="passed.{name}"' in html
    export_papers(store, str(tmp_path / "wide.csv"), Storage())
    with (tmp_path / "wide.csv").open(encoding="utf-8-sig", newline="") as file:
        missed = [
            value
            for row in csv.DictReader(file)
            for name, value in row.items()
            if name.endswith(" checks") and value
        ]
    assert missed == ["page"] * 5


def test_a_check_that_is_off_is_no_figure_of_the_page(task, tmp_path):
    run(task(COUNTS, page={**PAGE, "level": "off"}))
    store = Storage().at(str(tmp_path / "store"))
    html = Path(write_report(store, task()).path).read_text(encoding="utf-8")
    assert 'data-figure="passed.page"' not in html


def test_the_commands_show_own_checks_and_stop_at_a_broken_one(task, tmp_path):
    path = job_file(tmp_path / "job.yaml", task("print('hello')\n" + QUOTES))
    done = overnight("preview", path, "--json", "--limit", "1")
    (shown,) = json.loads(done.stdout)["records"]
    assert [c["evidence"] for c in shown["checks"] if c["name"] == "own"] == ["3, 10.1000/0"]
    assert overnight("plan", path, "--retry", "failed:own").returncode == 0
    assert "did you mean 'own'" in overnight("plan", path, "--retry", "failed:owm").stderr
    (tmp_path / "own.py").write_text("def test(subject)\n")
    for command in ("plan", "run", "preview", "recheck"):
        broken = CliRunner().invoke(app, [command, str(path), "--json"])
        assert broken.exit_code == 2, command
        assert f"{tmp_path / 'own.py'}:1: expected ':'" in broken.stdout
        assert not (tmp_path / "store").exists()


def test_doctor_names_own_checks_and_what_is_wrong_with_one(task, tmp_path):
    def said() -> Diagnosis:
        return next(d for d in diagnose(with_check) if d.name == "checks")

    with_check = task(COUNTS)
    assert said().message.endswith("word_count (fail), own (fail), page (label)")
    (tmp_path / "own.py").write_text("import nothing_of_the_kind\n")
    assert (said().exit_code, said().message.partition(": ")[0]) == (2, f"{tmp_path / 'own.py'}:1")


def test_a_preview_gives_checks_the_columns_that_a_run_gives_them(task, tmp_path):
    (tmp_path / "shards/a.jsonl").unlink()
    table = pa.Table.from_pylist(
        [{**r, "doi": datetime(2021, 5, 1, tzinfo=UTC)} for r in rows([0])]
    )
    pq.write_table(table, tmp_path / "shards/a.parquet")
    run(task(QUOTES))
    (row,) = newest(tmp_path / "store").values()
    (of_run,) = (c["evidence"] for c in row["checks"] if c["name"] == "own")
    done = overnight("preview", job_file(tmp_path / "job.yaml", task()), "--json")
    (shown,) = json.loads(done.stdout)["records"]
    assert [c["evidence"] for c in shown["checks"] if c["name"] == "own"] == [of_run]


def test_a_cluster_needs_the_job_and_not_the_file_of_a_check(task, tmp_path, ray_cluster):
    """The file is gone by the time that a replica starts."""
    from pipeline.answering.prepare import prepare
    from pipeline.cluster.ray_data import RayData
    from pipeline.runs.execute import execute

    with_check = task(QUOTES)
    prepared = prepare(with_check)
    (tmp_path / "own.py").unlink()
    document = execute(prepared, RayData(with_check.engine))
    assert counts(document) == {"read": 10, "answered": 10}
    assert verdicts(tmp_path / "store", "own") == [True] * 10


# Recheck


def test_a_recheck_with_the_same_checks_changes_nothing(task, tmp_path):
    run(task(QUOTES))
    _, changes = recheck(task())
    assert (changes.verdicts, changes.other_versions) == ([], {})
    assert changes.kept == {"own": 10}
    assert stored(tmp_path / "store").num_rows == 10


def test_a_recheck_says_which_verdicts_came_of_another_version(task, tmp_path):
    run(task(COUNTS))
    run_id, changes = recheck(task(COUNTS.replace("> 3", "> 7")))
    assert changes.other_versions == {"own": 10}
    assert {(v.status, v.other_versions) for v in changes.verdicts} == {
        (("answered", "failed"), ("own",))
    }
    assert len(changes.verdicts) == 10
    document = json.loads((tmp_path / f"store/runs/{run_id}/run.json").read_text())
    assert document["own_checks"].keys() == {"own", "page"}
    _, again = recheck(task())
    assert (again.verdicts, again.other_versions) == ([], {})


def test_a_row_whose_verdict_a_recheck_left_is_still_of_the_version_that_gave_it(task):
    run(task(COUNTS))
    other = task(COUNTS.replace("> 3", "> 2"))
    for _ in range(2):
        _, changes = recheck(other)
        assert (changes.verdicts, changes.other_versions) == ([], {"own": 10})


def test_another_pattern_is_another_version(task):
    run(task(COUNTS))
    _, changes = recheck(task(page={**PAGE, "must": "not_match"}))
    assert changes.other_versions == {"page": 10}
    _, changes = recheck(task(page={**PAGE, "must": "not_match", "level": "fail"}))
    assert changes.other_versions == {}
    assert len(changes.verdicts) == 10


def test_a_check_added_later_is_another_version_of_none(task):
    run(task(COUNTS))
    _, changes = recheck(task(long={"expression": "words > 100", "level": "label"}))
    assert changes.other_versions == {}
    assert {v.missed[1][-1] for v in changes.verdicts} == {"long"}


def test_a_changed_check_that_asks_for_passages_fails_and_says_so(task, tmp_path):
    """The store holds no passages: a stored verdict stays only for the version that gave it."""
    run(task(QUOTES))
    changed = task(QUOTES + "# other\n")
    _, changes = recheck(changed)
    assert (changes.kept, changes.other_versions) == ({}, {"own": 10})
    for row in newest(tmp_path / "store").values():
        (evidence,) = (c["evidence"] for c in row["checks"] if c["name"] == "own")
        assert evidence == "passages: not in the store, so a recheck does not know"
        assert (row["status"], row["failed_checks"]) == ("failed", ["own"])
    assert counts(run(changed, retry=["failed:own"]))["answered"] == 10
    assert recheck(changed)[1].kept == {"own": 10}


def test_a_kept_verdict_is_written_again_with_a_row_that_changes(task, tmp_path):
    """Rows that change for another reason keep their verdict."""
    run(task(QUOTES))
    _, changes = recheck(task(word_count={"level": "fail", "most": 3}))
    assert changes.kept == {"own": 10}
    assert all("word_count" in v.missed[1] for v in changes.verdicts)
    assert len(changes.verdicts) == 10
    assert verdicts(tmp_path / "store", "own") == [True] * 10


def test_the_command_says_what_a_recheck_kept_and_what_is_of_another_version(task, tmp_path):
    run(task(QUOTES))
    path = job_file(tmp_path / "job.yaml", task(page={**PAGE, "must": "not_match"}))
    done = overnight("recheck", path, "--json")
    document = json.loads(done.stdout)
    assert (document["kept"], document["other_versions"]) == ({"own": 10}, {"page": 10})
    assert document["verdicts"][0]["other_versions"] == ["page"]
    assert "page: 10 answers judged by another version of this check" in done.stderr
    assert "own: 10 verdicts kept" in done.stderr


# What run files say


def run_file(*starts: tuple[str, str], carry=None) -> dict:
    *earlier, last = (
        {"started_at": f"2026-01-0{day}T00:00:00+00:00", "own_checks": {"own": digest}}
        for day, digest in starts
    )
    output = {"uri": "x", **({"carry": carry} if carry else {})}
    return {"run_id": "a", **last, "resumed": earlier, "job": {"output": output}}


def row(day: int, extra: dict | None = None) -> dict:
    written = datetime.fromisoformat(f"2026-01-0{day}T12:00:00+00:00")
    return {
        "run_id": "a",
        "written_at": written,
        "extra": extra and json.dumps(extra),
    }


def test_a_resumed_run_has_the_checks_of_the_start_that_wrote_a_row():
    runs = PastRuns.of([run_file(("1", "old"), ("3", "new"))])
    assert [runs.digests(row(day))["own"] for day in (1, 2, 3, 4)] == ["old", "old", "new", "new"]
    assert PastRuns().digests(row(1)) == {}
    old = run_file(("1", "x"))
    del old["own_checks"]
    assert PastRuns.of([old]).digests(row(2)) == {}


def test_carried_columns_are_known_to_a_recheck():
    named = PastRuns.of([run_file(("1", "x"), carry=["doi", "year"])]).columns(row(1, {"doi": "d"}))
    assert (named["doi"], named.get("year")) == ("d", None)
    with pytest.raises(NotStored, match="column title"):
        named.get("title")
    every = PastRuns.of([run_file(("1", "x"), carry="all")]).columns(row(1, {"doi": "d"}))
    assert (dict(every), every.get("title")) == ({"doi": "d"}, None)
    with pytest.raises(NotStored, match="column doi"):
        PastRuns.of([run_file(("1", "x"))]).columns(row(1)).get("doi")


@pytest.mark.parametrize("carry", [("doi",), "all"])
def test_a_recheck_judges_anew_by_columns_that_are_carried(task, tmp_path, carry):
    def with_carried(source: str) -> Job:
        made = task(source)
        return made.model_copy(update={"output": made.output.model_copy(update={"carry": carry})})

    source = "from pipeline.answering.checks import Finding\ndef test(s):\n    "
    run(with_carried(f"{source}return Finding(True, s.extra['doi'])\n"))
    _, changes = recheck(with_carried(f"{source}return Finding(s.extra['doi'] > '', s.answer)\n"))
    assert (changes.verdicts, changes.kept, changes.other_versions) == ([], {}, {"own": 10})
    recheck(with_carried(f"{source}return Finding(False, s.extra['doi'])\n"))
    evidence = {
        c["evidence"]
        for row in newest(tmp_path / "store").values()
        for c in row["checks"]
        if c["name"] == "own"
    }
    assert evidence == {f"10.1000/{n}" for n in range(10)}
