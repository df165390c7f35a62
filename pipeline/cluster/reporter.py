"""Who answers: the replicas of a run's engine, and how they, its tasks and its driver speak."""

import os
import time
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import ray
from ray.exceptions import RayError

from pipeline.cluster.coordinator import ASK_SECONDS, Coordinator, Process, Replica
from pipeline.cluster.counters import EngineCounts, RunCounts, StageCounts
from pipeline.cluster.session import beside_driver
from pipeline.config.schema import EngineConfig
from pipeline.core.errors import EngineError
from pipeline.core.records import ReplicaState

BARREN_DEATHS = 5
"""So many replicas lost in a row, and no table answered meanwhile, are no accidents."""

HEADWAY_SECONDS = 5.0
"""The driver waits no longer to hear how far a run has got."""


class Replicas:
    """The roll of a run: replicas and tasks write to it in their own processes, the driver reads
    it.
    """

    def __init__(self, engine: EngineConfig) -> None:
        self._roll: Any = beside_driver(Coordinator).remote(engine.replicas.max)
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
        replica = Replica(node, *_own_process(), devices, state, engine_version)
        deaths = ray.get(self._roll.enter.remote(replica))
        if state == "loading" and deaths >= self._most_deaths:
            raise EngineError(
                f"replicas died {deaths} times without answering a table between, last on {node}; "
                "Ray's logs there say why"
            )

    def at_work(self, effort: EngineCounts, is_ending: bool) -> None:
        """Called by a replica, about itself; does not wait."""
        self._roll.at_work.remote(_own_process(), effort, is_ending)

    def passed(self, more: StageCounts) -> None:
        """Called by a task, about what it hands on; does not wait."""
        self._roll.passed.remote(more)

    def end(self, seconds: float) -> None:
        """Called by the driver: what is in flight has so long; nothing else is begun."""
        self._roll.end.remote(seconds)

    async def seconds_left(self) -> float | None:
        """Called by a replica: what it has for what is in flight; None while the run goes on."""
        with suppress(RayError):  # a link that breaks for a while is no end of the run
            left: float | None = await self._roll.seconds_left.remote(_own_process())
            return left
        return None

    def is_ending(self) -> bool:
        """Called by a task, as often as it likes: it asks no more than now and then."""
        if time.monotonic() - self._asked < ASK_SECONDS:
            return False
        self._asked = time.monotonic()
        with suppress(RayError):
            return ray.get(self._roll.seconds_left.remote()) is not None
        return False

    def headway(self, before: RunCounts) -> RunCounts:
        """How far the run has got; as `before` where the cluster does not say in time."""
        try:
            found: RunCounts = ray.get(self._roll.headway.remote(), timeout=HEADWAY_SECONDS)
        except Exception:  # noqa: BLE001  what ails the cluster, the run itself will meet
            return before
        return found

    def close(self) -> None:
        """Ends the roll's process, which a driver that goes on would keep for as long as anything
        of the run is not yet collected.
        """
        with suppress(RayError, RuntimeError):  # of a cluster that is lost
            ray.kill(self._roll)

    def listed(self) -> list[dict[str, Any]]:
        """Every replica that has reported, for the record of a run."""
        return [asdict(replica) for replica in self._read()]

    def why_not_all(self, engine: EngineConfig) -> str:
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


def _own_process() -> Process:
    return Process(ray.get_runtime_context().get_node_id(), os.getpid())
