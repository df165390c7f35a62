"""No process and no folder of an engine outlives its run, however that ends.

`OVERNIGHT_KILLS` is how many runs are ended; by default one is killed. `OVERNIGHT_MODEL` names the
folder of a model with real weights, whose steps are long; by default the model is a small one.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from pipeline.engines.watchdog import MARK
from tests.support.jobs import ROOT, job_file, rows, vllm_job, write_jsonl

RUNS = int(os.environ.get("OVERNIGHT_KILLS", "1"))
RECORDS = 36
PROMPT_LINES = 60
ENGINE_PROCESSES = 2
END_SECONDS = 5.0
START_SECONDS = 240.0
LATEST_SECONDS = 60.0 if RUNS > 1 else 0.0
"""A run is ended at a random moment in this time after its engine has all its processes."""

ENDINGS = {signal.SIGKILL: (-signal.SIGKILL,), signal.SIGTERM: (0, 130)}
"""Exit codes; a run may be done before it is told to end."""


def marked(processes: Iterable[psutil.Process]) -> Iterator[tuple[psutil.Process, str]]:
    """The processes of engines among these, with the folder that each is marked with."""
    for process in processes:
        with suppress(psutil.Error):
            if folder := process.environ().get(MARK):
                yield process, folder


def left_of(folder: str) -> list[psutil.Process]:
    return [process for process, mark in marked(psutil.process_iter()) if mark == folder]


@pytest.fixture
def file(tmp_path, tiny_model) -> Path:
    """A job whose prompts fill a step of the engine for long."""
    line = "The keepers of the pond wrote down every heron that they saw at dusk, one by one. "
    records = [
        {**row, "passages": [*row["passages"], {"text": f"{n}: " + line * PROMPT_LINES}]}
        for n, row in enumerate(rows(range(RECORDS)))
    ]
    write_jsonl(tmp_path / "shards/a.jsonl", records)
    options = {
        "distributed_executor_backend": "mp",  # a worker below the engine's own process
        "max_num_seqs": RECORDS,
        "max_num_batched_tokens": 2**15,
        "max_model_len": 4096,
        "kv_cache_memory_bytes": 2**31,
    }
    model = os.environ.get("OVERNIGHT_MODEL", str(tiny_model))
    task = vllm_job(model, tmp_path / "shards", tmp_path / "store", options, attempts=1)
    return job_file(tmp_path / "job.yaml", task.model_copy(update={"grace_seconds": 2}))


def engine_of(run: subprocess.Popen) -> tuple[psutil.Process, str]:
    """The replica of a run and the folder of its engine, once that has two processes."""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and run.poll() is None:
        for replica in psutil.Process(run.pid).children(recursive=True):
            with suppress(psutil.Error):
                if " ".join(replica.cmdline()).startswith("ray::MapWorker(MapBatches(BatchWorker)"):
                    engine = list(marked(replica.children(recursive=True)))
                    if len(engine) >= ENGINE_PROCESSES:
                        return replica, engine[0][1]
        time.sleep(0.2)
    raise AssertionError("the engine did not start")


@pytest.mark.timeout(RUNS * 300)
def test_nothing_of_an_engine_outlives_its_run(file):
    for number in range(RUNS):
        ending = (signal.SIGKILL, signal.SIGTERM)[number % 2]
        run = subprocess.Popen(
            [sys.executable, "-m", "jobs", "run", str(file), "--json"],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        replica, folder = engine_of(run)
        time.sleep(random.uniform(0, LATEST_SECONDS))
        processes = len(left_of(folder))
        run.send_signal(ending)
        replica.wait(60)
        ended = time.monotonic()
        while left_of(folder) or Path(folder).exists():
            assert time.monotonic() - ended < END_SECONDS, left_of(folder)
            time.sleep(0.1)
        seconds = time.monotonic() - ended
        run.wait(60)
        assert run.returncode in ENDINGS[ending]
        print(f"{number}: {ending.name}, {processes} processes were gone after {seconds:.1f} s")
