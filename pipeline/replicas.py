"""Who answers: the replicas of a run's engine, where each of them is and how far it has got.

The other stages' headway is kept beside theirs, so that the driver has one place to ask.
"""

import asyncio
import os
import time
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import reduce
from heapq import nlargest
from typing import Any, NamedTuple, Self

import ray
from ray.exceptions import RayError

from pipeline.cluster import beside_driver
from pipeline.config import Engine
from pipeline.errors import EngineError
from pipeline.headway import Effort, Headway, Passed
from pipeline.model import ReplicaState

ASK_SECONDS = 1.0
"""How often replicas and tasks ask whether the run is to end."""

SILENT_SECONDS = 60.0
"""A replica at work that has not even asked for so long is there no more."""

BARREN_DEATHS = 5
"""So many replicas lost in a row, and no table answered meanwhile, are no accidents."""

HEADWAY_SECONDS = 5.0
"""The driver waits no longer to hear how far a run has got."""


class Process(NamedTuple):
    """Where on the cluster something runs."""

    node_id: str
    pid: int

    @classmethod
    def own(cls) -> Self:
        return cls(ray.get_runtime_context().get_node_id(), os.getpid())


@dataclass(frozen=True, slots=True)
class Replica:
    """One engine's process; `devices` are the GPUs that are its own, as numbered on its node.

    `seconds` is for how long it has had them.
    """

    node: str
    node_id: str
    pid: int
    devices: str
    state: ReplicaState
    engine_version: str
    seconds: float = 0.0

    def __str__(self) -> str:
        gpus = f", GPU {self.devices}" if self.devices else ""
        return f"{self.node} (process {self.pid}{gpus})"


class Roll:
    """An actor that replicas report to; one that starts again is another process, and so listed.

    Ray does not say which replica it has replaced, or let go. Those that count as living are of
    which was heard last, as many as there may be; one that was merely silent is back with its next
    word.
    """

    def __init__(self, replicas: int) -> None:
        self._size = replicas
        self._replicas: dict[Process, Replica] = {}
        self._entered: dict[Process, float] = {}
        self._heard: dict[Process, float] = {}
        self._efforts: dict[Process, Effort] = {}
        self._aware: set[Process] = set()
        self._passed = Passed()
        self._barren = 0
        self._told: float | None = None
        self._deadline: float | None = None

    def enter(self, replica: Replica) -> int:
        """Notes how far a replica has got; returns the deaths since the last table was answered."""
        process = Process(replica.node_id, replica.pid)
        is_new = process not in self._replicas
        self._replicas[process] = replica
        self._heard[process] = now = time.monotonic()
        self._entered.setdefault(process, now)
        if replica.state == "answering":
            self._barren = 0
        elif is_new and len(self._replicas) > self._size:
            self._barren += 1
        return self._barren

    def at_work(self, process: Process, effort: Effort, is_ending: bool) -> None:
        """Notes what a replica has done since it started, and whether it begins nothing more."""
        self._efforts[process] = effort
        if is_ending:
            self._aware.add(process)
        self._heard[process] = time.monotonic()

    def passed(self, more: Passed) -> None:
        """Notes what a task has handed on."""
        self._passed = self._passed.plus(more)

    def end(self, seconds: float) -> None:
        """The run is to end; what is in flight has so long."""
        self._told = time.monotonic()
        self._deadline = self._told + seconds

    def seconds_left(self, process: Process | None = None) -> float | None:
        """What is left of the time for what is in flight; None while the run goes on."""
        if process in self._heard:
            self._heard[process] = time.monotonic()
        return None if self._deadline is None else self._deadline - time.monotonic()

    def headway(self) -> Headway:
        heard = filter(self._is_heard, self._heard)
        living = set(nlargest(self._size, heard, key=self._heard.__getitem__))
        return Headway(
            self._passed,
            reduce(Effort.plus, self._efforts.values(), Effort()),
            sum(effort.in_hand for process, effort in self._efforts.items() if process in living),
            Counter(self._replicas[process].state for process in living),
            sum(self._replicas[process].state != "placed" for process in living - self._aware),
        )

    def _is_heard(self, process: Process) -> bool:
        """One that has no work, or loads its model, says nothing meanwhile; none asks any more
        once it is told to end.
        """
        now = time.monotonic() if self._told is None else self._told
        silent = now - self._heard[process] > SILENT_SECONDS
        return not silent or self._replicas[process].state in ("placed", "loading")

    def read(self) -> list[Replica]:
        now = time.monotonic()
        until = {
            p: now if r.state == "placed" else self._heard[p] for p, r in self._replicas.items()
        }
        return [
            replace(replica, seconds=round(until[process] - self._entered[process], 3))
            for process, replica in self._replicas.items()
        ]


class Replicas:
    """The roll of a run: replicas and tasks write to it in their own processes, the driver reads
    it.
    """

    def __init__(self, engine: Engine) -> None:
        self._roll: Any = beside_driver(Roll).remote(engine.replicas.max)
        # All that one node takes along at once are one accident.
        self._most_deaths = BARREN_DEATHS + engine.replicas.max - 1
        self._asked = 0.0

    def report(self, state: ReplicaState, engine_version: str) -> None:
        """Called by a replica, about itself.

        Ray starts a lost replica again for ever, and hands it the records that may have killed it.
        Raises `EngineError` where that has gone on too long without an answer.
        """
        devices = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        node = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
        replica = Replica(node, *Process.own(), devices, state, engine_version)
        deaths = ray.get(self._roll.enter.remote(replica))
        if state == "loading" and deaths >= self._most_deaths:
            raise EngineError(
                f"replicas died {deaths} times without answering a table between, last on {node}; "
                "Ray's logs there say why"
            )

    def at_work(self, effort: Effort, is_ending: bool) -> None:
        """Called by a replica, about itself; does not wait."""
        self._roll.at_work.remote(Process.own(), effort, is_ending)

    def passed(self, more: Passed) -> None:
        """Called by a task, about what it hands on; does not wait."""
        self._roll.passed.remote(more)

    def end(self, seconds: float) -> None:
        """Called by the driver: what is in flight has so long; nothing else is begun."""
        self._roll.end.remote(seconds)

    async def ending(self) -> float:
        """Called by a replica; returns once the run is to end, with the seconds that are left."""
        while True:
            with suppress(RayError):  # a link that breaks for a while is no end of the run
                left: float | None = await self._roll.seconds_left.remote(Process.own())
                if left is not None:
                    return left
            await asyncio.sleep(ASK_SECONDS)

    def is_ending(self) -> bool:
        """Called by a task, as often as it likes: it asks no more than now and then."""
        if time.monotonic() - self._asked < ASK_SECONDS:
            return False
        self._asked = time.monotonic()
        with suppress(RayError):
            return ray.get(self._roll.seconds_left.remote()) is not None
        return False

    def headway(self, before: Headway) -> Headway:
        """How far the run has got; as `before` where the cluster does not say in time."""
        try:
            found: Headway = ray.get(self._roll.headway.remote(), timeout=HEADWAY_SECONDS)
        except Exception:  # noqa: BLE001  what ails the cluster, the run itself will meet
            return before
        return found

    def listed(self) -> list[dict[str, Any]]:
        """Every replica that has reported, for the record of a run."""
        return [asdict(replica) for replica in self._read()]

    def why_not_all(self, engine: Engine) -> str:
        """Which replicas have found no place in the time allowed, in a line."""
        placed = [str(replica) for replica in self._read()]
        where = f": {', '.join(placed)}" if placed else ""
        return (
            f"engine.start_seconds: after {engine.start_seconds} s {len(placed)} of "
            f"{engine.replicas.min} replicas had a place in the cluster (GPUs for each: "
            f"{engine.gpus}){where}"
        )

    def _read(self) -> list[Replica]:
        found: list[Replica] = ray.get(self._roll.read.remote())
        return found
