"""SIGTERM ends a run at any moment, and under its scheduler's id the run is resumed.

`OVERNIGHT_TERMS` is the number of random moments.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import Mock

import pytest

from pipeline.core.errors import ConfigError
from pipeline.core.filesystem import Storage
from pipeline.runs import shutdown
from pipeline.store.runs import all_runs
from tests.support.jobs import (
    ROOT,
    counts,
    job,
    job_file,
    overnight,
    rows,
    run,
    stored,
    write_jsonl,
)
from tests.support.scripted import scripted, scripted_job

TERMS = int(os.environ.get("OVERNIGHT_TERMS", "2"))
RECORDS, ROWS_PER_FILE, GRACE_SECONDS = 1_600, 20, 10
LATER_SECONDS = 8
"""Time for a command to exit after the grace, on a busy machine."""


def start(file: Path, address: str, *more: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "jobs", "run", str(file), "--json", *more],
        cwd=ROOT,
        env={**os.environ, "RAY_ADDRESS": address},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def terminate(run: subprocess.Popen) -> tuple[dict, float]:
    """Sends a SIGTERM; returns the document of the run, and the seconds until its end."""
    began = time.monotonic()
    run.send_signal(signal.SIGTERM)
    out, _ = run.communicate(timeout=60)
    return json.loads(out), time.monotonic() - began


def parts_of(store: Path) -> int:
    return len(list((store / "answers").glob("part-*")))


@pytest.mark.soak
@pytest.mark.timeout(120 + 60 * TERMS)
def test_a_sigterm_at_any_moment_leaves_a_store_that_the_next_run_completes(ray_cluster, tmp_path):
    write_jsonl(tmp_path / "shards/a.jsonl", rows(range(RECORDS)))
    store = tmp_path / "store"
    task = job(
        tmp_path / "shards",
        store,
        ROWS_PER_FILE,
        engine={"kind": "extractive", "replicas": 2},
        grace_seconds=GRACE_SECONDS,
    )
    file = job_file(tmp_path / "job.yaml", task)
    moment = random.Random(time.time_ns())
    rows_before, turns_with_rows = 0, 0
    for turn in range(TERMS):
        running = start(file, ray_cluster.address, "--run-id", "run-7")
        if turn % 2:  # before its first part, or while it stores parts
            time.sleep(moment.uniform(2, 6))
        else:
            before = parts_of(store)
            while parts_of(store) == before and running.poll() is None:
                time.sleep(0.05)
            time.sleep(moment.uniform(0, 2))
        if running.poll() is not None:  # it was done before
            rows_before, turns_with_rows = stored(store).num_rows, turns_with_rows + 1
            break
        document, seconds = terminate(running)
        stored_now = stored(store).num_rows
        print(f"{seconds:.1f} s, {stored_now - rows_before} stored, {document.get('status')}")
        assert running.returncode == 130
        assert seconds < GRACE_SECONDS + LATER_SECONDS
        if "counts" in document:
            done = document["counts"]
            assert document["status"] == "interrupted"
            assert done["read"] == sum(
                done[s] for s in ("current", "answered", "failed", "rejected")
            )
            assert done["answered"] <= stored_now - rows_before
            if seconds < GRACE_SECONDS:  # what was in flight was waited for
                assert done["answered"] == stored_now - rows_before
        turns_with_rows += stored_now > rows_before
        rows_before = stored_now
    assert turns_with_rows
    last = overnight("run", file, "--json", "--run-id", "run-7", address=ray_cluster.address)
    assert last.returncode == 0, last.stderr
    done = json.loads(last.stdout)
    assert counts(done)["read"] == RECORDS
    assert counts(done).get("current", 0) == rows_before
    assert "interrupted" in {start["status"] for start in done["resumed"]}
    record_ids = stored(store)["record_id"].to_pylist()
    assert len(record_ids) == len(set(record_ids)) == RECORDS


def test_after_a_sigterm_replicas_finish_what_is_in_flight_and_begin_nothing(ray_cluster, tmp_path):
    """Half of the answers take three seconds, with ten requests at a time."""
    write_jsonl(tmp_path / "shards/a.jsonl", rows(range(400)))
    store = tmp_path / "store"
    with scripted(slow_seconds=3) as url:
        task = scripted_job(url, tmp_path / "shards", store, 10, "ended")
        engine = task.engine.model_copy(
            update={"options": {**task.engine.options, "concurrency": 10}}
        )
        task = task.model_copy(update={"engine": engine, "grace_seconds": GRACE_SECONDS})
        file = job_file(tmp_path / "job.yaml", task)
        running = start(file, ray_cluster.address)
        while not parts_of(store):
            time.sleep(0.05)
        document, seconds = terminate(running)
    assert running.returncode == 130
    assert seconds < GRACE_SECONDS + LATER_SECONDS
    done = counts(document)
    assert 20 <= done["answered"] < 300
    assert stored(store).num_rows == done["answered"] + done.get("failed", 0) == done["read"]
    assert {len(rows) for rows in stored(store)["attempts"].to_pylist()} <= {1, 2, 3}


def test_without_grace_a_sigterm_ends_a_run_at_once(ray_cluster, tmp_path):
    write_jsonl(tmp_path / "shards/a.jsonl", rows(range(400)))
    with scripted(slow_seconds=30) as url:
        task = scripted_job(url, tmp_path / "shards", tmp_path / "store", 10, "ended")
        file = job_file(tmp_path / "job.yaml", task.model_copy(update={"grace_seconds": 0}))
        running = start(file, ray_cluster.address)
        while not (tmp_path / "store/runs").exists():
            time.sleep(0.05)
        time.sleep(4)
        document, seconds = terminate(running)
    assert (running.returncode, document["status"]) == (130, "interrupted")
    assert seconds < LATER_SECONDS


# The scheduler's id.


def test_an_interruption_that_a_finalizer_swallows_comes_again(monkeypatch):
    monkeypatch.setattr(shutdown, "AGAIN_SECONDS", 0.1)
    swallowed = []

    def swallow_one() -> None:
        with shutdown.Shutdown(0.1).listening(Mock()):
            os.kill(os.getpid(), signal.SIGTERM)
            try:
                time.sleep(10)
            except KeyboardInterrupt as interruption:
                swallowed.append(interruption)
            time.sleep(10)

    with pytest.raises(KeyboardInterrupt):
        swallow_one()
    assert swallowed


def test_a_run_that_is_started_again_is_resumed_under_its_id(tmp_path):
    write_jsonl(tmp_path / "shards/a.jsonl", rows(range(60)))
    task = job(tmp_path / "shards", tmp_path / "store")
    run(task, limit=20, run_id="run-7")
    again = run(task, run_id="run-7")
    assert counts(again) == {"read": 60, "current": 20, "answered": 40}
    (start,) = again["resumed"]
    assert (start["status"], start["counts"]["answered"]) == ("done", 20)
    assert set(stored(tmp_path / "store")["run_id"].to_pylist()) == {"run-7"}
    assert [p.name for p in (tmp_path / "store/runs").iterdir()] == ["run-7"]


def test_a_resumed_run_stays_over_the_budget_of_its_earlier_start(tmp_path):
    lines = rows(range(6))
    lines[0]["recorded_answer"] = ""
    write_jsonl(tmp_path / "shards/a.jsonl", lines)
    task = job(tmp_path / "shards", tmp_path / "store", engine={"kind": "recorded"})
    assert run(task, run_id="run-7")["status"] == "over_budget"
    again = run(task, run_id="run-7")
    assert (again["status"], counts(again)["current_failed"]) == ("over_budget", 1)
    assert run(task)["status"] == "done"  # in another run nothing has failed


def test_runs_are_listed_in_the_order_of_their_starts_whatever_their_ids(tmp_path):
    write_jsonl(tmp_path / "shards/a.jsonl", rows(range(6)))
    task = job(tmp_path / "shards", tmp_path / "store")
    for run_id in ("z-first", None, "a-last"):
        run(task, run_id=run_id)
    names = [r["run_id"] for r in all_runs(Storage().at(str(tmp_path / "store")))]
    assert (names[0], names[2]) == ("z-first", "a-last")


@pytest.mark.parametrize(
    "run_id", ["../up", "a/b", ".hidden", "x" * 101, "a b", "a\n", "run-b3of64"]
)
def test_an_id_that_cannot_name_a_folder_is_refused(run_id, tmp_path):
    write_jsonl(tmp_path / "shards/a.jsonl", rows(range(6)))
    task = job(tmp_path / "shards", tmp_path / "store")
    with pytest.raises(ConfigError, match="--run-id"):
        run(task, run_id=run_id)
    assert not (tmp_path / "store").exists()
