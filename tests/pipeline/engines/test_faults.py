"""Whole runs on real engines that die: every record is accounted for, none lost, none doubled."""

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import TypeVar

import psutil
import pytest

from pipeline.core.filesystem import Storage
from pipeline.store.reader import read_rows
from tests.support.jobs import (
    counts,
    processes_titled,
    rows,
    run,
    run_on_cluster,
    stored,
    vllm_job,
    write_jsonl,
)

NO_CHECKS = dict.fromkeys(
    ("complete", "echo", "empty", "format", "repetition", "word_count"), "off"
)
"""A random model passes no check, and these runs test the engine."""

TEMPLATE = "---\nname: short\nversion: 1\n---\n{{ passages[0].text }}\n\n{{ question }}\n"


@pytest.fixture
def template(tmp_path) -> str:
    path = tmp_path / "short.md"
    path.write_text(TEMPLATE)
    return str(path)


def counting_rows(store: Path) -> list[dict]:
    return [row for table in read_rows(Storage().at(str(store))) for row in table.to_pylist()]


def test_one_poison_record_among_a_hundred_fails_alone(tmp_path, template, tiny_model):
    """On the CPU build a seed kills the engine at any prompt that is computed in several chunks."""
    records = rows(range(100))
    records[77]["passages"] = ["We counted herons. " * 700]
    write_jsonl(tmp_path / "shards/a.jsonl", records)
    job = vllm_job(
        tiny_model,
        tmp_path / "shards",
        tmp_path / "store",
        options={"max_num_seqs": 4},
        prompt=template,
        checks=NO_CHECKS,
        sampling={"seed": 7, "max_tokens": 12},
    )
    document = run(job)
    assert document["counts"] == {
        "read": 100,
        "current": 0,
        "answered": 99,
        "failed": 1,
        "rejected": 0,
        "current_failed": 0,
        "filled_in": 0,
        **dict.fromkeys(("judged", "judged_again", "unjudged"), 0),
    }
    written = stored(tmp_path / "store").to_pylist()
    assert len(written) == len({row["record_id"] for row in written}) == 100
    (failed,) = (row for row in written if row["status"] == "failed")
    assert failed["record_id"] == records[77]["record_id"]
    assert failed["failed_checks"] == ["engine_error"]
    assert failed["checks"] == [
        {
            "name": "engine_error",
            "passed": False,
            "level": "fail",
            "evidence": "RuntimeError: CPU Generator does not use offset",
        }
    ]
    assert [a["finish_reason"] for a in failed["attempts"]] == ["error"]
    assert counts(run(job)) == {"read": 100, "current": 100, "current_failed": 1}


T = TypeVar("T")


def kill(process: psutil.Process) -> None:
    process.send_signal(signal.SIGKILL)


def stop(process: psutil.Process) -> None:
    process.send_signal(signal.SIGSTOP)


def exit_at_once(process: psutil.Process) -> None:
    """Makes the process call `os._exit`, by the hook in its `sitecustomize`."""
    (Path(os.environ["OVERNIGHT_TEST_EXIT"]) / str(process.pid)).touch()


PART, RECORDS, APART = 20, 400, 3
FAULTS = [("ray::MapWorker", exit_at_once), ("VLLM::EngineCore", kill), ("VLLM::EngineCore", stop)]
"""An actor that exits, an engine that is killed and one that stalls."""


@pytest.mark.soak
@pytest.mark.usefixtures("ray_cluster")
def test_a_process_that_dies_costs_retries_and_no_record(tmp_path, template, tiny_model):
    """One fault after the other, each when the parts that the last one could harm are stored."""
    write_jsonl(tmp_path / "shards/a.jsonl", rows(range(RECORDS)))
    job = vllm_job(
        tiny_model,
        tmp_path / "shards",
        tmp_path / "store",
        rows_per_file=PART,
        prompt=template,
        checks=NO_CHECKS,
        sampling={"max_tokens": 60, "ignore_eos": True},
        engine={"stall_seconds": 8},
    )
    with faults_injected(tmp_path / "store") as victims:
        document = run_on_cluster(job)
    assert len(victims) == len(set(victims)) == len(FAULTS)  # each hit another process
    assert counts(document) == {"read": RECORDS, "answered": RECORDS}
    written = counting_rows(tmp_path / "store")
    assert Counter(row["record_id"] for row in written).most_common(1)[0][1] == 1
    assert len(written) == RECORDS
    doubled = stored(tmp_path / "store").num_rows - RECORDS
    assert doubled <= PART  # the part being written


@contextmanager
def faults_injected(store: Path) -> Iterator[list[psutil.Process]]:
    """Injects the faults into processes of this run, with some parts between them; lists these."""
    victims: list[psutil.Process] = []
    over = Event()

    def parts() -> int:
        return len(list(store.glob("answers/part-*")))

    def waited_for(found: Callable[[], T | None]) -> T | None:
        """What is found at last, or None once the run is over."""
        while not over.is_set():
            if value := found():
                return value
            time.sleep(0.02)
        return None

    def wait_and_inject() -> None:
        for title, inject in FAULTS:
            enough = parts() + APART
            waited_for(lambda enough=enough: parts() >= enough)
            process = waited_for(lambda title=title: next(processes_titled(title), None))
            if process is None:
                return
            inject(process)
            victims.append(process)
            if inject is not stop:  # until it is dead, parts are no sign of another process
                waited_for(lambda process=process: not process.is_running())

    watcher = Thread(target=wait_and_inject, daemon=True)
    watcher.start()
    try:
        yield victims
    finally:
        over.set()
        watcher.join(10)
