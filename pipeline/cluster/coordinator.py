"""The roll of a run: where each replica is, and how far it and the other stages have got.

The driver has one place to ask. It is a process of its own, and starts with little to import.
"""

import time
from collections import Counter
from dataclasses import dataclass, replace
from functools import reduce
from heapq import nlargest
from typing import NamedTuple

from pipeline.cluster.counters import EngineCounts, RunCounts, StageCounts
from pipeline.core.records import ReplicaState

ASK_SECONDS = 1.0
"""How often replicas and tasks ask whether the run is to end."""

SILENT_SECONDS = 60.0
"""A replica at work that has not even asked for so long is there no more."""


class Process(NamedTuple):
    """Where on the cluster something runs."""

    node_id: str
    pid: int


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


class Coordinator:
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
        self._efforts: dict[Process, EngineCounts] = {}
        self._free: set[Process] = set()
        self._passed = StageCounts()
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

    def at_work(self, process: Process, effort: EngineCounts, is_ending: bool) -> None:
        """Notes what a replica has done since it started, and whether it begins nothing more."""
        self._efforts[process] = effort
        if is_ending:
            self._free.discard(process)
        else:
            self._free.add(process)
        self._heard[process] = time.monotonic()

    def passed(self, more: StageCounts) -> None:
        """Notes what a task has handed on."""
        self._passed = self._passed.plus(more)

    def end(self, seconds: float) -> None:
        """The run is to end; what is in flight has so long."""
        self._told = time.monotonic()
        self._deadline = self._told + seconds

    def seconds_left(self, process: Process | None = None) -> float | None:
        """What is left of the time for what is in flight; None while the run goes on: a replica
        that hears so is free to begin a table.
        """
        if process in self._heard:
            self._heard[process] = time.monotonic()
        if self._deadline is not None:
            return self._deadline - time.monotonic()
        if process is not None:
            self._free.add(process)
        return None

    def headway(self) -> RunCounts:
        heard = filter(self._is_heard, self._heard)
        living = set(nlargest(self._size, heard, key=self._heard.__getitem__))
        return RunCounts(
            self._passed,
            reduce(EngineCounts.plus, self._efforts.values(), EngineCounts()),
            sum(effort.in_hand for process, effort in self._efforts.items() if process in living),
            Counter(self._replicas[process].state for process in living),
            len(living & self._free),
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
