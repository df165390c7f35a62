"""Runs the stages of a flow in this process, one table after the other."""

import asyncio
import os
import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, reduce
from itertools import chain
from typing import Any, Self, TypeVar

import pyarrow as pa

from pipeline.cluster.account import Terms
from pipeline.cluster.coordinator import Coordinator, Process, Replica
from pipeline.cluster.counters import EngineCounts, RunCounts, StageCounts
from pipeline.cluster.executor import Executor, ReadTask, Stage
from pipeline.cluster.identities import Identities
from pipeline.cluster.limit import Limit
from pipeline.cluster.reporter import Reporter
from pipeline.config.schema import EngineConfig
from pipeline.core.arrow import receipts_in, slices
from pipeline.core.records import ReplicaState

T = TypeVar("T")

LOCAL_BYTES = 64 * 2**20
"""Stored bytes up to which a command without an engine does its work in its own process."""


class LocalStream:
    """Tables as a generator; see `Stream`."""

    def __init__(self, tables: Iterable[pa.Table]) -> None:
        self._tables = tables

    def map(self, stage: Stage) -> "LocalStream":
        return LocalStream(map(stage, self._tables))

    def in_blocks(self, rows: int) -> "LocalStream":
        return LocalStream(piece for table in self._tables for piece in slices(table, rows))

    def together(self, column: str | None, partitions: int) -> "LocalStream":
        return LocalStream(self._all_in_one())

    def in_order(self, columns: Sequence[str]) -> "LocalStream":
        order = [(name, "descending") for name in columns]
        return LocalStream(table.sort_by(order) for table in self._all_in_one())

    def _all_in_one(self) -> Iterator[pa.Table]:
        if tables := list(self._tables):
            yield pa.concat_tables(tables)

    def through_replicas(
        self, replica: type[Any], arguments: tuple[Any, ...], engine: EngineConfig, batches: int
    ) -> "LocalStream":
        return LocalStream(self._answered(replica(*arguments)))

    def _answered(self, replica: Any) -> Iterator[pa.Table]:
        with asyncio.Runner() as runner:
            for table in self._tables:
                yield runner.run(replica(table))

    def receipts(self) -> Iterator[Any]:
        return chain.from_iterable(map(receipts_in, self._tables))


class LocalReporter(Reporter):
    """Reports to a coordinator in this process; several replicas follow each other."""

    def __init__(self, coordinator: Coordinator) -> None:
        self._coordinator = coordinator
        self._process = Process(platform.node(), 0)

    def counted(self, more: StageCounts) -> None:
        self._coordinator.counted(more)

    def is_ending(self) -> bool:
        return self._coordinator.seconds_left() is not None

    def state(self, state: ReplicaState, engine_version: str = "") -> None:
        if state == "placed":
            self._process = self._process._replace(pid=self._process.pid + 1)
        replica = Replica(platform.node(), *self._process, "", state, engine_version)
        self._coordinator.state(replica)

    async def heartbeat(self, counts: EngineCounts, is_stopping: bool) -> float | None:
        return self._coordinator.heartbeat(self._process, counts, is_stopping)

    def worked(self, counts: EngineCounts, is_stopping: bool) -> None:
        self._coordinator.heartbeat(self._process, counts, is_stopping)

    async def reserve(self, counts: EngineCounts, amounts: Sequence[float]) -> int | None:
        return self._coordinator.reserve(self._process, counts, amounts)


class InProcess:
    """See `Executor`; there is one replica."""

    def __init__(self) -> None:
        self._coordinator = Coordinator(1)
        self.reporter: Reporter = LocalReporter(self._coordinator)
        self.identities = Identities()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing was started."""

    def read(self, tasks: Sequence[ReadTask], *stages: Stage) -> LocalStream:
        stream = LocalStream(chain.from_iterable(tables() for tables, _ in tasks))
        return reduce(LocalStream.map, stages, stream)

    def share(self, value: T) -> Callable[[], T]:
        return lambda: value

    def compute(self, make: Callable[[], T]) -> Callable[[], T]:
        return cache(make)

    def limit(self, records: int) -> Limit:
        return Limit(records)

    def end(self, seconds: float) -> None:
        self._coordinator.end(seconds)

    def open_account(self, terms: Terms) -> None:
        self._coordinator.open_account(terms)

    def allow(self, amount: float) -> None:
        self._coordinator.allow(amount)

    def counts(self, before: RunCounts) -> RunCounts:
        return self._coordinator.counts()

    def replicas(self) -> list[dict[str, Any]]:
        return []


def executor_for(stored_bytes: int, debug: bool = False) -> Executor:
    """This process if there is little to read and `RAY_ADDRESS` names no cluster, else Ray Data."""
    if stored_bytes <= LOCAL_BYTES and not os.environ.get("RAY_ADDRESS"):
        return InProcess()
    from pipeline.cluster.ray_data import RayData

    return RayData(debug=debug)
