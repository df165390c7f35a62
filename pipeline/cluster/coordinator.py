"""The coordinator of a run: where each replica is, and how far it and the other stages have got.

The driver has one place to ask. It is a process of its own, and imports little so that it starts
fast.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import nlargest
from typing import NamedTuple

from pipeline.cluster.account import Account, Terms
from pipeline.cluster.counters import EngineCounts, RunCounts, StageCounts
from pipeline.cluster.endpoint_limits import Demand, Lease, PerMinute, RateLimits
from pipeline.core.records import ReplicaState

SILENT_SECONDS = 60.0
"""A replica at work that has sent no heartbeat for this long is taken for lost."""


class Process(NamedTuple):
    """A process of the cluster."""

    node_id: str
    pid: int


@dataclass(frozen=True, slots=True)
class Replica:
    """The process of one engine; `devices` are its GPUs by their numbers on the node.

    `seconds` is how long it has held them.
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


@dataclass(slots=True)
class ReplicaStatus:
    """What the coordinator knows of a replica; times are seconds of its own monotonic clock."""

    replica: Replica
    placed_at: float
    heartbeat_at: float
    counts: EngineCounts
    may_begin: bool = False  # it was last told that the run goes on

    def is_silent(self, now: float) -> bool:
        """One without work, or that loads its model, sends no heartbeats meanwhile."""
        waits = self.replica.state in ("placed", "loading")
        return not waits and now - self.heartbeat_at > SILENT_SECONDS

    def seconds(self, now: float) -> float:
        end = now if self.replica.state == "placed" else self.heartbeat_at
        return round(end - self.placed_at, 3)

    def held(self, now: float, lives: bool) -> float:
        """Seconds to be paid; one that lives and loads its model sends no heartbeats meanwhile."""
        waits = lives and self.replica.state in ("placed", "loading")
        return (now if waits else self.heartbeat_at) - self.placed_at


class Coordinator:
    """An actor that replicas and tasks report to.

    A replica that starts again is another process, and is listed again. Ray does not say which
    replica it has replaced or let go: those heard from last count as living, as many as there may
    be. One that was merely silent is back with its next heartbeat.
    """

    def __init__(self, replicas: int) -> None:
        self._size = replicas
        self._replicas: dict[Process, ReplicaStatus] = {}
        self._stages = StageCounts()
        self._barren_deaths = 0
        self._deadline: float | None = None
        self._parts: defaultdict[bytes, list[str]] = defaultdict(list)
        self._account = Account(Terms())
        self._limits = RateLimits()

    def state(self, replica: Replica) -> int:
        """Records how far a replica has got before its first batch is answered; returns the deaths
        since any replica has answered one.
        """
        process, now = Process(replica.node_id, replica.pid), time.monotonic()
        if status := self._replicas.get(process):
            status.replica, status.heartbeat_at = replica, now
        else:
            self._replicas[process] = ReplicaStatus(replica, now, now, EngineCounts())
            self._barren_deaths += len(self._replicas) > self._size
        return self._barren_deaths

    def heartbeat(self, process: Process, counts: EngineCounts, is_stopping: bool) -> float | None:
        """Records that a replica lives, what it has done since it started, and if it begins no more
        batches; returns the seconds left to it, as `seconds_left` does.
        """
        seconds, status = self.seconds_left(), self._replicas[process]
        if counts.batches > status.counts.batches:
            self._barren_deaths = 0
            status.replica = replace(status.replica, state="answering")
        status.counts, status.heartbeat_at = counts, time.monotonic()
        status.may_begin = (status.may_begin or seconds is None) and not is_stopping
        self._account.settle(process, counts)
        return seconds

    def open_account(self, terms: Terms) -> None:
        """Begins the account of the run, before anything is spent."""
        self._account = Account(terms)

    def reserve(
        self, process: Process, counts: EngineCounts, amounts: Sequence[float]
    ) -> int | None:
        """Reserves for prompts of a replica, as `Account.reserve` does."""
        return self._account.reserve(process, counts, amounts)

    def allow(self, amount: float) -> None:
        """Lets so much be spent and reserved."""
        self._account.allow(amount)

    def announce(self, part: str, batches: Sequence[bytes]) -> None:
        """A part with answers of these batches, by their digests, is about to be written."""
        for batch in batches:
            self._parts[batch].append(part)

    def parts_of(self, batch: bytes) -> list[str]:
        """The parts announced with answers of a batch; only the store knows which it has."""
        return self._parts.get(batch, [])

    def lease(
        self, process: Process, demands: Mapping[str, Demand], given: PerMinute
    ) -> dict[str, Lease]:
        """What a replica may send to each endpoint of which it wants something."""
        return self._limits.lease(process, demands, given)

    def counted(self, more: StageCounts) -> None:
        """Records what a task has done."""
        self._stages = self._stages.plus(more)

    def has_work(self) -> bool:
        """Whether any record is known to need an answer."""
        return self._stages.work > 0

    def end(self, seconds: float) -> None:
        """The run is to end; what is in flight has this many seconds."""
        self._deadline = time.monotonic() + seconds

    def seconds_left(self) -> float | None:
        """Seconds left for what is in flight; None while the run goes on."""
        return None if self._deadline is None else self._deadline - time.monotonic()

    def counts(self) -> RunCounts:
        now, statuses = time.monotonic(), [*self._replicas.values()]
        heard = [status for status in statuses if not status.is_silent(now)]
        living = nlargest(self._size, heard, key=lambda status: status.heartbeat_at)
        self._update_account(living, now)
        return RunCounts(
            self._stages,
            EngineCounts.sum(status.counts for status in statuses),
            sum(status.counts.in_progress for status in living),
            Counter(status.replica.state for status in living),
            sum(status.may_begin for status in living),
            self._account.spending,
            self._limits.waits_for(),
            self._limits.rate_limited,
        )

    def _update_account(self, living: Sequence[ReplicaStatus], now: float) -> None:
        ids = {id(status) for status in living}
        statuses = self._replicas.items()
        self._account.lose(process for process, status in statuses if id(status) not in ids)
        seconds = sum(status.held(now, id(status) in ids) for _, status in statuses)
        self._account.hold(seconds, len(living))

    def replicas(self) -> list[Replica]:
        """Every replica that has reported."""
        now = time.monotonic()
        statuses = self._replicas.values()
        return [replace(status.replica, seconds=status.seconds(now)) for status in statuses]
