"""Replicas without engines, many in one process, that report what real ones report."""

import asyncio
import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.answering.stop_signal import StopSignal
from pipeline.cluster.coordinator import Coordinator, Process, Replica
from pipeline.cluster.counters import EngineCounts
from pipeline.cluster.reporter import ClusterReporter, Reporter
from pipeline.core.records import ReplicaState

NODE = "10.0.0.1"
NODE_ID = "7" * 56
"""As long as Ray's own."""

ROWS = 200
PART = "s3://bucket/a-job/answers/part-20260101T000000Z-ab12-00000000-0000-0000-0000-{:012}.parquet"


class LocalReporter(Reporter):
    """Reports to a coordinator in this process as the replica of that number."""

    def __init__(self, coordinator: Coordinator, number: int) -> None:
        self._coordinator = coordinator
        self._process = Process(NODE_ID, number)

    def state(self, state: ReplicaState, engine_version: str = "") -> None:
        self._coordinator.state(Replica(NODE, *self._process, "0", state, engine_version))

    async def heartbeat(self, counts: EngineCounts, is_stopping: bool) -> float | None:
        return self._coordinator.heartbeat(self._process, counts, is_stopping)

    def worked(self, counts: EngineCounts, is_stopping: bool) -> None:
        self._coordinator.heartbeat(self._process, counts, is_stopping)

    async def announce(self, part: str, batches: Sequence[bytes]) -> None:
        self._coordinator.announce(part, batches)

    async def parts_of(self, batch: bytes) -> Sequence[str]:
        return self._coordinator.parts_of(batch)


class RemoteReporter(ClusterReporter):
    """Reports to the coordinator's actor as the replica of that number."""

    def __init__(self, coordinator: Any, number: int) -> None:
        super().__init__(coordinator, most_deaths=1)
        self._process = Process(NODE_ID, number)

    def process(self) -> Process:
        return self._process


@dataclass(slots=True)
class Crowded:
    """A replica that answers a batch every so many seconds until the run ends."""

    reporter: Reporter
    batch_seconds: Callable[[], float]
    counts: EngineCounts = field(default_factory=EngineCounts)

    def start(self) -> None:
        for state in ("placed", "loading", "ready"):
            self.reporter.state(state, "1")

    async def work(self) -> None:
        stop = StopSignal(self.reporter, lambda: self.counts)
        await asyncio.sleep(random.random())  # they started at different times
        while await stop.may_begin():
            batch = os.urandom(16)
            await self.reporter.parts_of(batch)
            self._add(EngineCounts(asked=ROWS))
            self.reporter.worked(self.counts, stop.is_stopping)
            answering = asyncio.ensure_future(asyncio.sleep(self.batch_seconds()))
            if await stop.comes_before(answering):
                answering.cancel()
                self._add(EngineCounts(asked=-ROWS))
            else:
                await self.reporter.announce(PART.format(random.getrandbits(32)), [batch])
                tokens = 1000 * ROWS, 600 * ROWS, 150 * ROWS
                self._add(EngineCounts(0, ROWS, 0, ROWS, ROWS, *tokens, batches=1))
            await stop.report()

    def _add(self, more: EngineCounts) -> None:
        self.counts = self.counts.plus(more)
