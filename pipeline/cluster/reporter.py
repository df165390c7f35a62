"""How the processes of a run report to its coordinator, and hear from it."""

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from pipeline.cluster.coordinator import Process, Replica
from pipeline.cluster.counters import EngineCounts, StageCounts
from pipeline.cluster.endpoint_limits import Demand, Lease, PerMinute, RateLimits
from pipeline.cluster.pacer import EndpointPacer
from pipeline.core.errors import EngineError
from pipeline.core.records import ReplicaState

HEARTBEAT_SECONDS = 1.0
"""How often replicas send a heartbeat with their counts, and tasks ask if the run is to end."""


class Reporter:
    """What a task or a replica reports, and the little that it asks.

    This one reports to nobody, and the run goes on until its input is done.
    """

    def counted(self, more: StageCounts) -> None:
        """Reports what a task has done; does not wait."""

    def is_ending(self) -> bool:
        """Whether the run is to end. May be called often: it asks now and then."""
        return False

    def state(self, state: ReplicaState, engine_version: str = "") -> None:
        """Reports how far this replica has got before its first batch; its counts say the rest.

        Raises `EngineError` if replicas have died too often to go on.
        """

    async def heartbeat(self, counts: EngineCounts, is_stopping: bool) -> float | None:
        """Says that this replica lives, all that it has done, and if it begins no more batches;
        returns the seconds left, None while the run goes on.
        """
        return None

    def worked(self, counts: EngineCounts, is_stopping: bool) -> None:
        """Says the same between two heartbeats; does not wait."""

    async def reserve(self, counts: EngineCounts, amounts: Sequence[float]) -> int | None:
        """Asks for how many of these prompts there is money, as `Account.reserve` does."""
        return len(amounts)

    async def announce(self, part: str, batches: Sequence[bytes]) -> None:
        """Says that a part with answers of these batches, by their digests, is to be written."""

    async def parts_of(self, batch: bytes) -> Sequence[str]:
        """The parts announced with answers of a batch: some, if it comes again after a crash."""
        return ()

    def wait_for_work(self) -> bool:
        """Blocks until any record is known to need an answer; False if nobody will say so."""
        return False

    def pacer(self, addresses: Sequence[str], limits: Mapping[str, float]) -> EndpointPacer:
        """What holds this replica's requests back, so that all keep the limits of the endpoints.

        `limits` are the `requests_per_minute` and `tokens_per_minute` of each, as the job gives
        them. Here there is but one replica.
        """
        kept, given = RateLimits(), _per_minute(limits)

        async def ask(demands: Mapping[str, Demand]) -> Mapping[str, Lease]:
            return kept.lease("here", demands, given)

        return EndpointPacer(addresses, ask)


class ClusterReporter(Reporter):
    """Reports to the coordinator's actor, from any process of the cluster.

    Ray restarts a lost replica for ever and hands it the records that may have killed it:
    `most_deaths` in a row, with no batch answered between them, end the run.
    """

    def __init__(self, coordinator: Any, most_deaths: int) -> None:
        self._coordinator = coordinator
        self._most_deaths = most_deaths
        self._asked_at = 0.0

    def counted(self, more: StageCounts) -> None:
        self._coordinator.counted.remote(more)

    def is_ending(self) -> bool:
        if time.monotonic() - self._asked_at < HEARTBEAT_SECONDS:
            return False
        self._asked_at = time.monotonic()
        return self._answer_of(self._coordinator.seconds_left) is not None

    def state(self, state: ReplicaState, engine_version: str = "") -> None:
        import ray

        devices = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        node = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
        replica = Replica(node, *self.process(), devices, state, engine_version)
        deaths = ray.get(self._coordinator.state.remote(replica))
        if state == "loading" and deaths >= self._most_deaths:
            raise EngineError(
                f"replicas died {deaths} times without answering a batch between, last on {node}; "
                "Ray's logs there say why"
            )

    async def heartbeat(self, counts: EngineCounts, is_stopping: bool) -> float | None:
        from ray.exceptions import RayError

        beat = self._coordinator.heartbeat.remote(self.process(), counts, is_stopping)
        with suppress(RayError):  # a link that breaks for a while is no end of the run
            left: float | None = await beat
            return left
        return None

    def worked(self, counts: EngineCounts, is_stopping: bool) -> None:
        self._coordinator.heartbeat.remote(self.process(), counts, is_stopping)

    async def reserve(self, counts: EngineCounts, amounts: Sequence[float]) -> int | None:
        from ray.exceptions import RayError

        with suppress(RayError):
            asked = self._coordinator.reserve.remote(self.process(), counts, amounts)
            granted: int | None = await asked
            return granted
        return None

    async def announce(self, part: str, batches: Sequence[bytes]) -> None:
        from ray.exceptions import RayError

        with suppress(RayError):
            await self._coordinator.announce.remote(part, batches)

    async def parts_of(self, batch: bytes) -> Sequence[str]:
        from ray.exceptions import RayError

        with suppress(RayError):
            parts: list[str] = await self._coordinator.parts_of.remote(batch)
            return parts
        return ()

    def wait_for_work(self) -> bool:
        while not self._answer_of(self._coordinator.has_work):
            time.sleep(HEARTBEAT_SECONDS)
        return True

    def pacer(self, addresses: Sequence[str], limits: Mapping[str, float]) -> EndpointPacer:
        from ray.exceptions import RayError

        process, given = self.process(), _per_minute(limits)

        async def ask(demands: Mapping[str, Demand]) -> Mapping[str, Lease]:
            with suppress(RayError):
                leases: Mapping[str, Lease]
                leases = await self._coordinator.lease.remote(process, demands, given)
                return leases
            return {}

        return EndpointPacer(addresses, ask)

    def process(self) -> Process:
        """The process that reports."""
        import ray

        return Process(ray.get_runtime_context().get_node_id(), os.getpid())

    def _answer_of(self, method: Any) -> Any:
        """What the coordinator says; None while it cannot be reached."""
        import ray
        from ray.exceptions import RayError

        with suppress(RayError):
            return ray.get(method.remote())
        return None


def _per_minute(limits: Mapping[str, float]) -> PerMinute:
    return PerMinute(limits.get("requests_per_minute"), limits.get("tokens_per_minute"))
