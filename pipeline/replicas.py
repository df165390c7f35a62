"""Who answers: the replicas of a run's engine, where each of them is and how far it has got."""

import os
from dataclasses import asdict, dataclass
from typing import Any

import ray

from pipeline.config import Engine
from pipeline.model import ReplicaState


@dataclass(frozen=True, slots=True)
class Replica:
    """One engine process; `devices` are the GPUs that are its own, by their numbers on its node."""

    node: str
    pid: int
    devices: str
    state: ReplicaState
    engine_version: str

    def __str__(self) -> str:
        gpus = f", GPU {self.devices}" if self.devices else ""
        return f"{self.node} (process {self.pid}{gpus})"


class Roll:
    """An actor that replicas report to; one that starts again is another process, and so listed."""

    def __init__(self) -> None:
        self._replicas: dict[tuple[str, int], Replica] = {}

    def enter(self, replica: Replica) -> None:
        self._replicas[replica.node, replica.pid] = replica

    def read(self) -> list[Replica]:
        return list(self._replicas.values())


class Replicas:
    """The roll of a run: replicas write to it in their own processes, the driver reads it."""

    def __init__(self) -> None:
        self._roll: Any = ray.remote(num_cpus=0)(Roll).remote()

    def report(self, state: ReplicaState, engine_version: str) -> None:
        """Called by a replica, about itself."""
        devices = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        node = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
        replica = Replica(node, os.getpid(), devices, state, engine_version)
        ray.get(self._roll.enter.remote(replica))

    def listed(self) -> list[dict[str, Any]]:
        """Every replica that has reported, for the record of a run."""
        return [asdict(replica) for replica in self._read()]

    def why_not_ready(self, engine: Engine) -> str:
        """Which replicas are late, in a line."""
        known = self._read()
        loading = [str(replica) for replica in known if replica.state == "loading"]
        placeless = engine.replicas - len(known)
        parts = [f"still loading: {', '.join(loading)}"] if loading else []
        if placeless > 0:
            parts.append(f"without a place so far: {placeless}, of {engine.gpus} GPUs each")
        ready = len(known) - len(loading)
        return (
            f"engine.start_seconds: after {engine.start_seconds} s {ready} of {engine.replicas} "
            f"replicas were ready; {'; '.join(parts)}"
        )

    def _read(self) -> list[Replica]:
        found: list[Replica] = ray.get(self._roll.read.remote())
        return found
