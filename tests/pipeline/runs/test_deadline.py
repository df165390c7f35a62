"""A run ends by its deadline with everything stored, and the next one does the rest."""

import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline.answering.prepare import prepare
from pipeline.cluster.counters import EngineCounts, RunCounts
from pipeline.cluster.in_process import InProcess
from pipeline.config.deadline import Deadline
from pipeline.config.schema import Job
from pipeline.core.accounting import Totals
from pipeline.core.filesystem import Storage
from pipeline.runs import deadline
from pipeline.runs.deadline import DeadlineWatch
from pipeline.runs.execute import execute
from pipeline.runs.progress import InputBounds, Rates, RunProgress
from pipeline.runs.shutdown import STORING_SECONDS, Shutdown
from pipeline.store.run_file import RunFile
from tests.support.jobs import ROOT, counts, job, job_file, rows, run, stored, write_jsonl
from tests.support.scripted import scripted_job, steady

RECORDS, FEWER = 1_600, 400
ENDS_WITHIN = 5.0
"""Seconds on either side of the deadline."""

PAGE_SECONDS = 15.0
"""To write the page, which comes after, on a busy machine."""


def due(task: Job, written: str, **sections: object) -> Job:
    return task.model_copy(update={"deadline": Deadline.parse(written), **sections})


def asked_slowly(url: str, folder: Path, records: int) -> Job:
    """A job of so many records, ten of which are answered at a time."""
    write_jsonl(folder / "shards/a.jsonl", rows(range(records)))
    task = scripted_job(url, folder / "shards", folder / "store", 20, "due")
    options = {**task.engine.options, "concurrency": 10}
    return task.model_copy(update={"engine": task.engine.model_copy(update={"options": options})})


def late(document: dict) -> float:
    """Seconds by which a run has ended after its deadline."""
    ended, until = (datetime.fromisoformat(document[at]) for at in ("ended_at", "deadline"))
    return (ended - until).total_seconds()


def ids_in(store: Path) -> list[str]:
    return stored(store)["record_id"].to_pylist()


def test_a_run_stops_at_its_deadline_and_the_next_one_does_the_rest(tmp_path, monkeypatch):
    monkeypatch.setattr(deadline, "STORING_SECONDS", 1.0)
    with steady(0.4) as endpoint:
        task = asked_slowly(endpoint.url, tmp_path, FEWER)
        run(task, limit=10)  # so that what it needs is imported
        document = run(due(task, "+8s"))
        done = counts(document)
        assert (document["status"], document["stopped_by"]) == ("stopped", "deadline")
        assert -ENDS_WITHIN < late(document) < ENDS_WITHIN
        assert (here := len(ids_in(tmp_path / "store"))) == 10 + done["answered"] < FEWER
        assert done["read"] == done["answered"] + done.get("current", 0)  # these come last
        assert document["left"] == FEWER - here
        assert document["left_seconds"] > 5
    with steady(0) as endpoint:
        rest = run(asked_slowly(endpoint.url, tmp_path, FEWER))
    assert counts(rest) == {"read": FEWER, "current": here, "answered": document["left"]}
    assert (rest["status"], rest["deadline"], rest["left"]) == ("done", None, 0)
    assert len(set(ids_in(tmp_path / "store"))) == len(ids_in(tmp_path / "store")) == FEWER


@pytest.mark.parametrize("written", ["+0m", "+2s", "2026-01-01T00:00Z"])
def test_a_run_without_time_starts_nothing_and_is_stopped(written, tmp_path):
    class Unstartable(InProcess):
        def __enter__(self):
            pytest.fail("no cluster is needed")

    write_jsonl(tmp_path / "shards/a.jsonl", rows(range(6)))
    task = due(job(tmp_path / "shards", tmp_path / "store"), written)
    document = execute(prepare(task), Unstartable())
    assert (document["status"], document["stopped_by"]) == ("stopped", "deadline")
    assert (counts(document), document["left"]) == ({}, None)
    assert not (tmp_path / "store/answers").exists()


def test_a_run_that_is_done_before_its_deadline_is_done(tmp_path):
    write_jsonl(tmp_path / "shards/a.jsonl", rows(range(6)))
    document = run(due(job(tmp_path / "shards", tmp_path / "store"), "+8h"))
    assert (document["status"], document["stopped_by"]) == ("done", None)
    assert (document["left"], document["left_seconds"]) == (0, 0.0)
    assert late(document) < -8 * 3600 + 60


@pytest.mark.soak
@pytest.mark.timeout(180)
def test_a_command_ends_with_0_by_its_deadline_through_a_kill_in_between(ray_cluster, tmp_path):
    """Both starts under one id; the second keeps the deadline of the first, which was killed."""
    store = tmp_path / "store"
    with steady(0.3) as endpoint:
        file = job_file(tmp_path / "job.yaml", asked_slowly(endpoint.url, tmp_path, RECORDS))
        command = [sys.executable, "-m", "jobs", "run", file, "deadline=+40s", "--json"]

        def start() -> subprocess.Popen:
            return subprocess.Popen(
                [*map(str, command), "--run-id", "run-7"],
                cwd=ROOT,
                env={**os.environ, "RAY_ADDRESS": ray_cluster.address},
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )

        with start() as first:
            while not list((store / "answers").glob("part-*")):
                assert first.poll() is None
                time.sleep(0.05)
            first.send_signal(signal.SIGKILL)
        with start() as second:
            out, _ = second.communicate(timeout=120)
        ended = datetime.now(UTC)
        document = json.loads(out)
        assert (second.returncode, document["status"]) == (0, "stopped")
    (killed,) = document["resumed"]
    until = datetime.fromisoformat(document["deadline"])
    assert until - datetime.fromisoformat(killed["started_at"]) == timedelta(seconds=40)
    print(f"ended {late(document):.1f} s after the deadline, {ended - until} with the page")
    within = max(ENDS_WITHIN, document["timings"]["cluster_ready"])  # of a machine that is busy
    assert -within < late(document) < within
    assert (ended - until).total_seconds() < within + PAGE_SECONDS
    assert (store / "runs/run-7/report.html").exists()
    done, ids = counts(document), ids_in(store)
    assert done["read"] == done["answered"] + done.get("current", 0) <= len(ids) < RECORDS
    assert document["left"] == RECORDS - len(ids)
    with steady(0) as endpoint:
        rest = run(asked_slowly(endpoint.url, tmp_path, RECORDS))
    assert counts(rest) == {"read": RECORDS, "current": len(ids), "answered": document["left"]}
    assert len(set(ids_in(store))) == len(ids_in(store)) == RECORDS


# When the end begins.


def progress(in_engines: int, rate: float, done: int = 100, replicas: int = 2) -> RunProgress:
    counted = RunCounts(
        engines=EngineCounts(asked=in_engines + done, answered=done),
        in_engines=in_engines,
        replicas={"answering": replicas},
    )
    return RunProgress(Totals(), counted, Rates(done=rate), InputBounds(1))


@pytest.mark.parametrize(
    ("seen", "seconds"),
    [
        (progress(0, 0), 0),  # nothing is in flight: the model loads, or the input is read
        (progress(400, 10), 2 * 30 / 10),  # thirty sequences each, whatever waits behind them
        (progress(40, 10), 40 / 10),
        (progress(400, 10, done=59), 0),  # the first ones are not done: nothing is known
        (progress(400, 0), 20),  # no answer for a minute: the grace
        (progress(400, 0.1), 20),
    ],
)
def test_the_end_begins_before_the_deadline_as_long_as_an_answer_takes(seen, seconds):
    for early, is_over in ((0.5, False), (-0.5, True)):
        moment = datetime.now(UTC) + timedelta(seconds=STORING_SECONDS + seconds + early)
        shutdown = Shutdown(20)
        watch = DeadlineWatch(moment, 20, 30, shutdown)
        watch(seen)
        assert watch.is_over() == shutdown.is_requested == is_over


def test_without_a_deadline_a_run_goes_on():
    assert not DeadlineWatch(None, 20, 30, Shutdown(20)).is_over()


# The deadline of a run that its scheduler starts again.


@pytest.mark.parametrize(
    ("status", "written", "keeps"),
    [
        ("running", "+1h", True),  # it was killed
        ("interrupted", "+1h", True),
        ("failed", "+1h", True),
        ("stopped", "+1h", False),
        ("done", "+1h", False),
        ("interrupted", "+2h", False),
    ],
)
def test_a_run_keeps_its_deadline_until_it_has_ended_by_itself(status, written, keeps, tmp_path):
    task, store = job("in", tmp_path), Storage().at(str(tmp_path))
    first = RunFile.named(store, due(task, "+1h"), {}, "run-7")
    first.write(first.content(status))
    again = RunFile.named(store, due(task, written), {}, "run-7")
    assert (again.deadline == first.deadline) == keeps
    assert RunFile.named(store, task, {}, "run-7").deadline is None
