"""A whole run with simulated engines on a Ray cluster, and what its driver takes meanwhile."""

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psutil
import ray
from ray.data._internal.execution.operators.map_operator import MapOperator
from ray.data._internal.execution.streaming_executor import StreamingExecutor

from pipeline import flow
from pipeline.answering import engine_loader
from pipeline.answering.prepare import prepare
from pipeline.answering.replica import BatchWorker
from pipeline.cluster.ray_data import RayData
from pipeline.cluster.session import REPLICA_MEMORY_BYTES
from pipeline.config.schema import Job
from pipeline.core.records import Completion
from pipeline.engines.engine import Request
from pipeline.runs.execute import execute
from pipeline.runs.metrics import Metrics
from pipeline.runs.progress import RunProgress
from tests.bench.records import generate
from tests.support.jobs import job

ROWS = 20
"""In a batch."""

IN_REACH, BATCHES_IN_FLIGHT = 110, 13
"""Requests in flight that make so many batches for each replica, as vLLM has them by default."""

SECONDS = 60
"""How long every replica has as many batches as it takes."""

RATE = "OVERNIGHT_BENCH_RATE"


class Steady:
    """An engine that finishes one answer after the other, so many a second."""

    kind, version = "openai", "simulated"

    def __init__(self) -> None:
        self._seconds = 1 / float(os.environ[RATE])
        self._free_at = 0.0

    async def generate(self, request: Request) -> Completion:
        now = time.monotonic()
        self._free_at = max(now, self._free_at) + self._seconds
        await asyncio.sleep(self._free_at - now)
        return Completion(request.prompt.record.recorded_answer or "", "stop", 1000, 600, 150)


class Simulated(BatchWorker):
    """A replica with such an engine."""

    def __init__(self, *arguments: Any) -> None:
        engine_loader.open_engine = lambda *_: Steady()  # in this process, which is its own
        super().__init__(*arguments)


@dataclass(frozen=True)
class Pool:
    """Figures a second between the first batches and the last; shares are of a core."""

    replicas: int
    batch_seconds: float
    rate: float  # records, of those that the engines could answer
    tasks: float
    driver: float
    loop: float  # of it, Ray Data's scheduling loop
    steps: float
    coordinator: float
    gcs: float
    raylet: float


class Sampler:
    """A watcher that reads processor times every second, and ends the run after `records`."""

    def __init__(self, executor: RayData, done: dict[str, float], records: int) -> None:
        self._executor = executor
        self._done = done
        self._records = records
        self._processes: dict[str, psutil.Process] = {}
        self.samples: list[tuple[dict[str, float], RunProgress]] = []

    def __call__(self, progress: RunProgress) -> None:
        self._processes = self._processes or self._found()
        now = time.monotonic()
        if not self.samples or now - self.samples[-1][0]["now"] > 0.9:
            times = {name: _seconds(p) for name, p in self._processes.items()}
            counts = {"done": float(progress.counts.engines.done), **self._done}
            self.samples.append(({"now": now, **times, **counts}, progress))
            if counts["done"] > self._records:
                self._executor.end(0.0)

    def _found(self) -> dict[str, psutil.Process]:
        actor: Any = self._executor._coordinator
        pid = ray.get(actor.__ray_call__.remote(lambda _: os.getpid()))
        driver = psutil.Process()
        below = {p.name(): p for p in driver.children(recursive=True)}
        return {
            "driver": driver,
            "coordinator": psutil.Process(pid),
            **{name: below[name] for name in ("gcs_server", "raylet")},
        }


def _seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


@contextmanager
def _counted_loop() -> Iterator[dict[str, float]]:
    """Steps of Ray Data's scheduling loop, their processor seconds, and tasks begun."""
    done = {"steps": 0.0, "loop": 0.0, "tasks": 0.0}
    step, submit = StreamingExecutor._scheduling_loop_step, MapOperator._submit_data_task

    def counted_step(self: Any, *arguments: Any) -> bool:
        began = time.thread_time()
        try:
            return step(self, *arguments)
        finally:
            done["steps"] += 1
            done["loop"] += time.thread_time() - began

    def counted_submit(self: Any, *arguments: Any, **more: Any) -> Any:
        done["tasks"] += 1
        return submit(self, *arguments, **more)

    with (
        patch.object(StreamingExecutor, "_scheduling_loop_step", counted_step),
        patch.object(MapOperator, "_submit_data_task", counted_submit),
    ):
        yield done


def pool(folder: Path, replicas: int, batch_seconds: float) -> Pool:
    """Runs a cluster of its own."""
    rate = ROWS / batch_seconds
    steady = int(rate * SECONDS) * replicas
    records = steady + BATCHES_IN_FLIGHT * ROWS * replicas
    shards = generate(folder / "records", records, max(4, replicas))
    task = _job(shards, folder / "store", replicas)
    with ExitStack() as block:
        block.enter_context(patch.dict(os.environ, {RATE: str(rate)}))
        block.callback(ray.shutdown)
        ray.init(
            address="local",
            num_cpus=replicas + 3,
            _memory=(replicas + 3) * REPLICA_MEMORY_BYTES,
            object_store_memory=2**29,
            include_dashboard=False,
            log_to_driver=False,
        )
        done = block.enter_context(_counted_loop())
        block.enter_context(patch.object(flow, "BatchWorker", Simulated))
        block.enter_context(patch.object(flow, "PARTITION_BYTES", 2**20))
        block.enter_context(patch.object(flow, "PARTITION_ROWS", 1000))
        executor = RayData(task.engine)
        sampler = Sampler(executor, done, steady)
        document = execute(prepare(task), executor, [sampler, Metrics(task.name)])
    assert document["counts"]["answered"] == document["counts"]["read"] >= steady
    return _figures(replicas, batch_seconds, steady, sampler)


def _job(shards: Path, store: Path, replicas: int) -> Job:
    engine = {
        "kind": "openai",
        "model": "simulated",
        "replicas": replicas,
        "start_seconds": 1800,
        "options": {"base_url": "http://127.0.0.1:9/v1", "concurrency": IN_REACH},
    }
    sections = {"engine": engine, "input": {"uri": str(shards), "grouped": True}, "attempts": 1}
    return job(shards, store, ROWS, failure_budget=1.0, **sections)


def _figures(replicas: int, batch_seconds: float, steady: int, sampler: Sampler) -> Pool:
    """Between the samples where all replicas were at work."""
    first = next(s for s, p in sampler.samples if p.counts.replicas.get("answering") == replicas)
    last = [s for s, _ in sampler.samples if s["done"] < steady][-1]
    each = {name: (last[name] - first[name]) / (last["now"] - first["now"]) for name in last}
    return Pool(
        replicas,
        batch_seconds,
        each["done"] * batch_seconds / ROWS / replicas,
        each["tasks"],
        each["driver"],
        each["loop"],
        each["steps"],
        each["coordinator"],
        each["gcs_server"],
        each["raylet"],
    )
