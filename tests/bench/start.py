"""How soon commands end that have little to do, and how soon a slow model is asked.

Every command is a process of its own, without a cluster to join, as is Ray Data by itself, which
has a cluster to start too.
"""

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from aiohttp import web

from tests.support.jobs import ROOT, job_file, rows, write_jsonl
from tests.support.proxy import Proxy
from tests.support.scripted import scripted, scripted_job

ROUNDS = 3
DEMO = "conf/demo/job.yaml"
BARE = "import ray.data; ray.init('local'); ray.data.range(10).map_batches(lambda b: b).take_all()"
"""It starts a cluster; without an address it would join any that happens to run on this machine."""

SLOW_SECONDS, RECORDS, ROWS_PER_FILE = 30.0, 600, 100
"""What loading the model takes, and reading the input as well."""


def section(scratch: Path) -> list[str]:
    """Its part of docs/benchmarks.md."""
    seconds = start_seconds(scratch)
    first = first_request_seconds(scratch / "slow")
    return [
        "## How soon it starts",
        "",
        "Seconds from the start of a process to its end, without a cluster to join; the job is "
        f"that of `make demo`. Median of {ROUNDS} rounds (least to most), one command after the "
        "other in each.",
        "",
        "| command | seconds | ÷ Ray Data by itself |",
        "|---|---:|---:|",
        *(_row(name, taken, seconds["Ray Data by itself"]) for name, taken in seconds.items()),
        "",
        f"Ray Data by itself: `{BARE}`",
        "",
        f"A run whose model takes {SLOW_SECONDS:.0f} s to load and whose input takes "
        f"{SLOW_SECONDS:.0f} s to read sends its first request after {first:.1f} s: the model "
        "loads while the input is read. One after the other they would take "
        f"{2 * SLOW_SECONDS:.0f} s.",
        "",
    ]


def start_seconds(scratch: Path, rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Seconds of every command in every round."""
    each = [_round(scratch / f"store-{n}") for n in range(rounds)]
    return {name: [one[name] for one in each] for name in each[0]}


def _round(store: Path) -> dict[str, float]:
    into = f"output.uri={store}"
    commands: dict[str, tuple[list[str], int]] = {
        "Ray Data by itself": (["-c", BARE], 0),
        "`plan`": (["-m", "jobs", "plan", DEMO, into], 0),
        "`run`": (["-m", "jobs", "run", DEMO, into], 0),
        "`recheck`": (["-m", "jobs", "recheck", DEMO, into], 0),
        "`run` with a mistyped key": (["-m", "jobs", "run", DEMO, "engine.knd=vllm"], 2),
    }
    return {name: _seconds(arguments, code) for name, (arguments, code) in commands.items()}


def _seconds(arguments: list[str], code: int = 0, **environment: str) -> float:
    """Seconds of a Python process; raises `RuntimeError` unless it ends with the exit code."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**_environment(), **environment},
        check=False,
    )
    if done.returncode != code:
        raise RuntimeError(f"{arguments}: {done.stderr[-3000:]}")
    return time.monotonic() - began


def _environment() -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    return {**inherited, "RAY_USAGE_STATS_ENABLED": "0"}


def first_request_seconds(scratch: Path, slow_seconds: float = SLOW_SECONDS) -> float:
    """Seconds from the start of a run to its first request, with a slow model and a slow input."""
    write_jsonl(scratch / "shards" / "a.jsonl", rows(range(RECORDS)))
    times: list[float] = []

    async def note(_: web.Request, __: bytes) -> None:
        times.append(time.monotonic())

    with scripted() as url:
        proxy = Proxy(url, note).start()
        slow = scripted_job(proxy.url, scratch / "shards", scratch / "store", ROWS_PER_FILE, "slow")
        file = job_file(scratch / "job.yaml", slow)
        began = time.monotonic()
        _seconds(
            ["-m", "jobs", "run", str(file)],
            PYTHONPATH=os.pathsep.join([str(ROOT / "tests" / "bench" / "slow"), str(ROOT)]),
            OVERNIGHT_BENCH_SLOW=str(slow_seconds),
            OVERNIGHT_BENCH_RECORDS=str(RECORDS),
        )
        proxy.close()
    return min(times) - began


def _row(name: str, seconds: list[float], bare: list[float]) -> str:
    ratio = statistics.median(seconds) / statistics.median(bare)
    least, most = min(seconds), max(seconds)
    return (
        f"| {name} | {statistics.median(seconds):.1f} ({least:.1f} to {most:.1f}) | {ratio:.2f} |"
    )
