"""Runs one way of answering in a process of its own and measures it as if it had a GPU.

The model's worker has a core of its own and everything else another one, for every way alike.
"""

import json
import os
import subprocess
import sys
import time
from bisect import bisect_right
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.bench import peers
from tests.bench.steps import Work
from tests.support.jobs import ROOT

SAMPLE_SECONDS = 1.0

CORES = "0 1"
"""That of everything else, and the worker's."""


@dataclass(frozen=True)
class Measured:
    """What the worker did, and processor seconds that all else took between first and last step."""

    work: Work
    outside: float


def measured(way: str, task: Mapping[str, Any], folder: Path, pinned: bool = True) -> Measured:
    """Raises `RuntimeError` with the end of its log if a way fails."""
    clock, described, log = folder / "clock", folder / "task.json", folder / "log.txt"
    clock.mkdir(parents=True)
    described.write_text(json.dumps({**task, "folder": str(folder)}))
    path = [str(ROOT / "tests" / "bench" / "clock"), str(ROOT), *_packages(way)]
    variables = {
        "OVERNIGHT_BENCH_CLOCK": str(clock),
        "PYTHONPATH": os.pathsep.join(path),
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
    }
    if pinned:
        variables |= {"OVERNIGHT_BENCH_CORES": CORES, "VLLM_CPU_OMP_THREADS_BIND": CORES.split()[1]}
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.contenders", way, str(described)],
            cwd=ROOT,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, **variables},
        )
        samples = [(time.monotonic(), {})]
        while process.poll() is None:
            samples.append((time.monotonic(), _processor_seconds(process.pid)))
            time.sleep(SAMPLE_SECONDS)
    if process.returncode:
        raise RuntimeError(f"{way}: {log.read_text(errors='replace')[-3000:]}")
    work, worker = Work.of(clock), int((clock / "worker").read_text())
    return Measured(work, _between(samples, work.span, worker))


def _packages(way: str) -> list[str]:
    """The folder of another project's packages; nothing for the ways that need none."""
    place = peers.folder(way) if way in peers.PINNED else None
    return [str(place)] if place else []


def _processor_seconds(pid: int) -> dict[int, float]:
    """Of a process and all below it, by process id."""
    seconds: dict[int, float] = {}
    with suppress(psutil.Error):
        root = psutil.Process(pid)
        for process in [root, *root.children(recursive=True)]:
            with suppress(psutil.Error):
                times = process.cpu_times()
                seconds[process.pid] = times.user + times.system
    return seconds


def _between(
    samples: list[tuple[float, dict[int, float]]], span: tuple[float, float], worker: int
) -> float:
    """Processor seconds outside the worker, from the last sample before each end of the span."""
    times = [at for at, _ in samples]
    first, last = (samples[bisect_right(times, at) - 1][1] for at in span)
    return sum(seconds - first.get(pid, 0.0) for pid, seconds in last.items() if pid != worker)
