"""The coordinator alone, with as many messages as that many replicas send."""

import asyncio
import os
import time
import timeit
import tracemalloc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psutil
import ray

from pipeline.cluster.coordinator import Coordinator, Process
from pipeline.cluster.counters import EngineCounts
from pipeline.cluster.session import actor_beside_driver
from tests.support.crowd import NODE_ID, PART, Crowded, LocalReporter, RemoteReporter

CLIENTS = 4
SECONDS, SETTLING = 20.0, 5.0

BATCH_SECONDS = 22.0
"""A GPU's for 200 answers, at 9 a second."""

DUE = 1 + 4 / BATCH_SECONDS
"""Messages a second of a replica: heartbeats, and those of batches."""

BATCHES = 20_000


@dataclass(frozen=True)
class Load:
    """Messages a second, each one's processor time, shares of a core, and times of answers."""

    replicas: int
    messages: float
    seconds_each: float
    share: float
    busiest_thread: float
    heartbeats: Sequence[float]
    polls: Sequence[float]


@dataclass(frozen=True)
class Standing:
    """What the coordinator holds in bytes, and processor seconds that its answers take."""

    replica_bytes: float
    batch_bytes: float
    poll_seconds: float
    list_seconds: float


class Timed(RemoteReporter):
    """Notes how long heartbeats take until they are answered."""

    def __init__(self, coordinator: Any, number: int, taken: list[float]) -> None:
        super().__init__(coordinator, number)
        self._taken = taken

    async def heartbeat(self, counts: EngineCounts, is_stopping: bool) -> float | None:
        began = time.monotonic()
        left = await super().heartbeat(counts, is_stopping)
        self._taken.append(time.monotonic() - began)
        return left


class Client:
    """An actor that is many replicas."""

    def __init__(self, coordinator: Any, numbers: range) -> None:
        self._taken: list[float] = []
        self._crowd = [Crowded(Timed(coordinator, n, self._taken), _batch_time) for n in numbers]

    def start(self) -> None:
        for replica in self._crowd:
            replica.start()

    def work(self) -> list[float]:
        """Until the run ends; returns how long heartbeats took."""

        async def all_of_them() -> None:
            await asyncio.gather(*(replica.work() for replica in self._crowd))

        asyncio.run(all_of_them())
        return self._taken


def _batch_time() -> float:
    return BATCH_SECONDS * (0.5 + int.from_bytes(os.urandom(2)) / 2**16)


class Counting(Coordinator):
    """Counts the messages that it gets."""

    messages = 0

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("_") and name not in ("messages", "pid"):
            self.messages += 1
        return super().__getattribute__(name)

    def pid(self) -> int:
        return os.getpid()

    def received(self) -> int:
        return self.messages


def load(replicas: int) -> Load:
    """On the cluster that this process has joined."""
    with actor_beside_driver(Counting, replicas) as actor:
        process = psutil.Process(ray.get(actor.pid.remote()))
        remote: Any = ray.remote(num_cpus=0)
        clients = [
            remote(Client).remote(actor, range(n, replicas, CLIENTS)) for n in range(CLIENTS)
        ]
        ray.get([client.start.remote() for client in clients])
        at_work = [client.work.remote() for client in clients]
        time.sleep(SETTLING)
        began, before, received = time.monotonic(), _threads(process), _received(actor)
        polls = list(_polls(actor))
        seconds, after = time.monotonic() - began, _threads(process)
        messages = _received(actor) - received
        ray.get(actor.end.remote(0.0))
        heartbeats = [taken for each in ray.get(at_work) for taken in each]
        for client in clients:
            ray.kill(client)
    used = {thread: after[thread] - before.get(thread, 0.0) for thread in after}
    return Load(
        replicas,
        messages / seconds,
        sum(used.values()) / messages,
        sum(used.values()) / seconds,
        max(used.values()) / seconds,
        sorted(heartbeats),
        sorted(polls),
    )


def _polls(actor: Any) -> Any:
    """How long the driver's question takes that it asks every second."""
    ends = time.monotonic() + SECONDS
    while (began := time.monotonic()) < ends:
        ray.get(actor.counts.remote())
        yield time.monotonic() - began
        time.sleep(1)


def _received(actor: Any) -> int:
    received: int = ray.get(actor.received.remote())
    return received


def _threads(process: psutil.Process) -> dict[int, float]:
    return {t.id: t.user_time + t.system_time for t in process.threads()}


def standing(replicas: int) -> Standing:
    """Measured in this process."""
    tracemalloc.start()
    run = Coordinator(replicas)
    for n in range(replicas):
        Crowded(LocalReporter(run, n), _batch_time).start()
        run.heartbeat(Process(NODE_ID, n), EngineCounts(*range(10_000, 10_009)), False)
    replica_bytes = tracemalloc.get_traced_memory()[0] / replicas
    held = tracemalloc.get_traced_memory()[0]
    for n in range(BATCHES):
        run.announce(PART.format(n), [os.urandom(16)])
    batch_bytes = (tracemalloc.get_traced_memory()[0] - held) / BATCHES
    tracemalloc.stop()
    return Standing(replica_bytes, batch_bytes, _cost(run.counts), _cost(run.replicas))


def _cost(call: Any, rounds: int = 10, times: int = 10) -> float:
    return min(timeit.repeat(call, time.process_time, number=times, repeat=rounds)) / times
