"""Who answers: the replicas of a run's engine, where each of them is and how far it has got."""

import os
from dataclasses import asdict, dataclass
from typing import Any

import ray

from pipeline.cluster import beside_driver
from pipeline.config import Engine
from pipeline.errors import EngineError
from pipeline.model import ReplicaState

BARREN_DEATHS = 5
"""So many replicas lost in a row, and no table answered meanwhile, are no accidents."""


@dataclass(frozen=True, slots=True)
class Replica:
    """One engine's process; `devices` are the GPUs that are its own, as numbered on its node."""

    node: str
    node_id: str
    pid: int
    devices: str
    state: ReplicaState
    engine_version: str

    def __str__(self) -> str:
        gpus = f", GPU {self.devices}" if self.devices else ""
        return f"{self.node} (process {self.pid}{gpus})"


class Roll:
    """An actor that replicas report to; one that starts again is another process, and so listed."""

    def __init__(self, replicas: int) -> None:
        self._size = replicas
        self._replicas: dict[tuple[str, int], Replica] = {}
        self._barren = 0

    def enter(self, replica: Replica) -> int:
        """Notes how far a replica has got; returns the deaths since the last table was answered."""
        is_new = (replica.node_id, replica.pid) not in self._replicas
        self._replicas[replica.node_id, replica.pid] = replica
        if replica.state == "answering":
            self._barren = 0
        elif is_new and len(self._replicas) > self._size:
            self._barren += 1
        return self._barren

    def read(self) -> list[Replica]:
        return list(self._replicas.values())


class Replicas:
    """The roll of a run: replicas write to it in their own processes, the driver reads it."""

    def __init__(self, engine: Engine) -> None:
        self._roll: Any = beside_driver(Roll).remote(engine.replicas)

    def report(self, state: ReplicaState, engine_version: str) -> None:
        """Called by a replica, about itself.

        Ray starts a lost replica again for ever, and hands it the records that may have killed it.
        Raises `EngineError` where that has gone on too long without an answer.
        """
        devices = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        node = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
        node_id = ray.get_runtime_context().get_node_id()
        replica = Replica(node, node_id, os.getpid(), devices, state, engine_version)
        deaths = ray.get(self._roll.enter.remote(replica))
        if state == "loading" and deaths >= BARREN_DEATHS:
            raise EngineError(
                f"replicas died {deaths} times without answering a table between, last on {node}; "
                "Ray's logs there say why"
            )

    def listed(self) -> list[dict[str, Any]]:
        """Every replica that has reported, for the record of a run."""
        return [asdict(replica) for replica in self._read()]

    def why_not_all(self, engine: Engine) -> str:
        """Which replicas have found no place in the time allowed, in a line."""
        placed = [str(replica) for replica in self._read()]
        where = f": {', '.join(placed)}" if placed else ""
        return (
            f"engine.start_seconds: after {engine.start_seconds} s {len(placed)} of "
            f"{engine.replicas} replicas had a place in the cluster (GPUs for each: {engine.gpus})"
            f"{where}"
        )

    def _read(self) -> list[Replica]:
        found: list[Replica] = ray.get(self._roll.read.remote())
        return found
