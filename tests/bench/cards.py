"""What NVIDIA's driver says of the GPUs at hand, by its own tool.

Its counters are read beside a run: the share of a sample period (1/6 to 1 s) in which a kernel ran,
the share in which memory was read or written, and watts. A kernel may use few of a GPU's cores, so
`busy` says how seldom the GPU waits, not how well it is used.
"""

import shutil
import statistics
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

COUNTERS = {"busy": "utilization.gpu", "memory_busy": "utilization.memory", "watts": "power.draw"}
PERCENT = ("busy", "memory_busy")
SAMPLE_SECONDS = 0.5


@dataclass(frozen=True)
class Sample:
    """Of one GPU, at a time of the system's monotonic clock; what it does not count is absent."""

    at: float
    gpu: int
    counters: dict[str, float]


def names() -> list[str]:
    """Name, memory and driver of each GPU here; none without GPU or tool."""
    return _query("name,memory.total,driver_version", "csv,noheader")


@contextmanager
def sampled() -> Iterator[list[Sample]]:
    """A list that grows by a sample of every GPU until the block ends; it stays empty without."""
    samples: list[Sample] = []
    ended = threading.Event()

    def sample() -> None:
        while not ended.wait(SAMPLE_SECONDS):
            samples.extend(_sample())

    if not names():
        yield samples
        return
    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield samples
    finally:
        ended.set()
        thread.join()


def means(samples: list[Sample], span: tuple[float, float], gpus: int) -> dict[str, float] | None:
    """Mean counters within the span of the GPUs that were busiest; None if there are no samples."""
    by_gpu: dict[int, list[Sample]] = {}
    for sample in samples:
        if span[0] <= sample.at <= span[1]:
            by_gpu.setdefault(sample.gpu, []).append(sample)
    used = sorted(by_gpu.values(), key=lambda of: -(_mean(of, "busy") or 0.0))[:gpus]
    taken = [sample for of in used for sample in of]
    if not taken:
        return None
    found = {name: _mean(taken, name) for name in COUNTERS}
    return {name: mean for name, mean in found.items() if mean is not None}


def _mean(samples: list[Sample], name: str) -> float | None:
    values = [sample.counters[name] for sample in samples if name in sample.counters]
    return statistics.fmean(values) if values else None


def _sample() -> Iterator[Sample]:
    lines = _query(",".join(["index", *COUNTERS.values()]), "csv,noheader,nounits")
    at = time.monotonic()
    for index, *values in (line.split(", ") for line in lines):
        told = {n: float(v) for n, v in zip(COUNTERS, values, strict=True) if not v.startswith("[")}
        shares = {name: value / 100 for name, value in told.items() if name in PERCENT}
        yield Sample(at, int(index), {**told, **shares})


def _query(fields: str, form: str) -> list[str]:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    command = [tool, f"--query-gpu={fields}", f"--format={form}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.splitlines() if done.returncode == 0 else []
