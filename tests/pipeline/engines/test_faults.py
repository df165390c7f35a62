"""Whole runs on real engines that die: every record accounted for, none lost, none twice."""

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import psutil
import pytest

from pipeline.core.filesystem import Storage
from pipeline.store.reader import read_rows
from tests.support.jobs import counts, processes_titled, rows, run, stored, vllm_job, write_jsonl

pytestmark = pytest.mark.usefixtures("ray_cluster")

NO_CHECKS = dict.fromkeys(
    ("complete", "echo", "empty", "format", "repetition", "word_count"), "off"
)
"""A random model says nothing that a check would pass; what these runs are about is the engine."""

TEMPLATE = "---\nname: short\nversion: 1\n---\n{{ passages[0].text }}\n\n{{ question }}\n"


@pytest.fixture
def template(tmp_path) -> str:
    path = tmp_path / "short.md"
    path.write_text(TEMPLATE)
    return str(path)


def counting_rows(store: Path) -> list[dict]:
    return [row for table in read_rows(Storage().at(str(store))) for row in table.to_pylist()]


def test_one_poison_record_among_two_hundred_fails_alone(tmp_path, template, tiny_model):
    """On the CPU build a seed kills the engine with any prompt that is read in several chunks."""
    records = rows(range(200))
    records[77]["passages"] = ["We counted herons. " * 700]
    write_jsonl(tmp_path / "shards/a.jsonl", records)
    night = vllm_job(
        tiny_model,
        tmp_path / "shards",
        tmp_path / "store",
        options={"max_num_seqs": 4},
        prompt=template,
        checks=NO_CHECKS,
        sampling={"seed": 7, "max_tokens": 12},
    )
    document = run(night)
    assert document["counts"] == {
        "read": 200,
        "current": 0,
        "answered": 199,
        "failed": 1,
        "rejected": 0,
        "current_failed": 0,
    }
    held = stored(tmp_path / "store").to_pylist()
    assert len(held) == len({row["record_id"] for row in held}) == 200
    (failed,) = (row for row in held if row["status"] == "failed")
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
    assert counts(run(night)) == {"read": 200, "current": 200, "current_failed": 1}


def kill(process: psutil.Process) -> None:
    process.send_signal(signal.SIGKILL)


def stop(process: psutil.Process) -> None:
    process.send_signal(signal.SIGSTOP)


def exit_at_once(process: psutil.Process) -> None:
    """Has the process call `os._exit`, through the hook that it found in `sitecustomize`."""
    (Path(os.environ["OVERNIGHT_TEST_EXIT"]) / str(process.pid)).touch()


PART, RECORDS, APART = 20, 300, 4
BLOWS = [("ray::MapWorker", exit_at_once), ("VLLM::EngineCore", kill), ("VLLM::EngineCore", stop)]
"""An actor that exits, an engine that is killed and one that stalls."""


def test_what_dies_in_a_run_costs_a_retry_and_no_record(tmp_path, template, tiny_model):
    """One blow after the other, each when the parts that the last one could harm are stored."""
    write_jsonl(tmp_path / "shards/a.jsonl", rows(range(RECORDS)))
    night = vllm_job(
        tiny_model,
        tmp_path / "shards",
        tmp_path / "store",
        rows_per_file=PART,
        prompt=template,
        checks=NO_CHECKS,
        sampling={"max_tokens": 60, "ignore_eos": True},
        engine={"stall_seconds": 8},
    )
    with struck_on_the_way(tmp_path / "store") as struck:
        document = run(night)
    assert len(struck) == len(set(struck)) == len(BLOWS)  # each has hit a process of its own
    assert counts(document) == {"read": RECORDS, "answered": RECORDS}
    held = counting_rows(tmp_path / "store")
    assert Counter(row["record_id"] for row in held).most_common(1)[0][1] == 1
    assert len(held) == RECORDS
    again = stored(tmp_path / "store").num_rows - RECORDS
    assert again <= PART  # the part that was on its way


@contextmanager
def struck_on_the_way(store: Path) -> Iterator[list[psutil.Process]]:
    """Lets the blows fall on processes of this run, each after some parts more; lists whom."""
    struck: list[psutil.Process] = []
    over = Event()

    def wait_and_strike() -> None:
        while not over.is_set() and len(struck) < len(BLOWS):
            if len(list(store.glob("answers/part-*"))) >= 3 + APART * len(struck):
                victim, blow = BLOWS[len(struck)]
                process = next(processes_titled(victim))
                blow(process)
                struck.append(process)
            time.sleep(0.02)

    watcher = Thread(target=wait_and_strike, daemon=True)
    watcher.start()
    try:
        yield struck
    finally:
        over.set()
        watcher.join(10)
