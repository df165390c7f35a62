"""A whole run in a process of its own: rate, processor time, time to the first rows, memory."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.support.jobs import ROOT, job, job_file

SAMPLE_SECONDS = 0.5

COMPARING = ("general", "links", "names", "numbers", "quotes", "references")
"""Checks that compare an answer with its prompt, which take most of the time of all checks."""

PLAIN: Mapping[str, Any] = {
    "checks": dict.fromkeys(COMPARING, "off"),
    "answer": {"estimate": False},
}
"""A job that compares no answer with its prompt."""


@dataclass(frozen=True)
class Whole:
    """One run's figures; memory is the proportional set size of the driver and all below it.

    `cpu_seconds` are those of the same processes, from the start of the command to its end; what a
    process does after it was last looked at is missing.
    """

    records: int
    seconds: float
    cpu_seconds: float
    first_rows: float
    peak_bytes: int
    driver_peak_bytes: int


def whole_run(shards: Path, folder: Path, options: Mapping[str, Any]) -> Whole:
    """Runs the recorded engine over a folder of shards, with a replica for each core."""
    folder.mkdir(parents=True)
    engine = {"kind": "recorded", "replicas": os.cpu_count()}
    recorded = job(shards, folder / "store", 4000, engine=engine, failure_budget=1.0, **options)
    file = job_file(folder / "job.yaml", recorded)
    with (folder / "out.json").open("wb") as out, (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "jobs", "run", str(file), "--json"],
            cwd=ROOT,
            stdout=out,
            stderr=log,
            env={name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"},
        )
        peak = driver_peak = 0
        cpu_seconds: dict[int, float] = {}
        while process.poll() is None:
            cpu_seconds |= _cpu_seconds(process.pid)
            driver, everything = _memory(process.pid)
            peak, driver_peak = max(peak, everything), max(driver_peak, driver)
            time.sleep(SAMPLE_SECONDS)
    if process.returncode:
        raise RuntimeError((folder / "log.txt").read_text())
    document = json.loads((folder / "out.json").read_text())
    timings = document["timings"]
    return Whole(
        records=document["counts"]["answered"] + document["counts"]["failed"],
        seconds=timings["total"] - timings["cluster_ready"],
        cpu_seconds=sum(cpu_seconds.values()),
        first_rows=timings["first_rows"],
        peak_bytes=peak,
        driver_peak_bytes=driver_peak,
    )


def seconds_again(command: str, folder: Path) -> float:
    """Seconds that a command takes over the store which a run has left in `folder`."""
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "jobs", command, str(folder / "job.yaml"), "--json"],
        cwd=ROOT,
        capture_output=True,
        env={name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"},
        check=True,
    )
    return time.perf_counter() - began


def _cpu_seconds(pid: int) -> dict[int, float]:
    """What a process and all its descendants have taken so far, each by its id.

    When they started is no part of that: it moves with the machine's clock.
    """
    seconds: dict[int, float] = {}
    with suppress(psutil.Error):
        driver = psutil.Process(pid)
        for process in [driver, *driver.children(recursive=True)]:
            with suppress(psutil.Error):
                times = process.cpu_times()
                seconds[process.pid] = times.user + times.system
    return seconds


def _memory(pid: int) -> tuple[int, int]:
    """Proportional set size of a process, and of it with all its descendants, in bytes."""
    sizes = [0]
    with suppress(psutil.Error):
        driver = psutil.Process(pid)
        for process in [driver, *driver.children(recursive=True)]:
            with suppress(psutil.Error):
                sizes.append(process.memory_full_info().pss)
    return sizes[1] if len(sizes) > 1 else 0, sum(sizes)
