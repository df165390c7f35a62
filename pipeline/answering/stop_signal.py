"""Whether a run is to end, as its replicas hear it."""

import asyncio
from collections.abc import Callable
from typing import Any

from pipeline.cluster.counters import EngineCounts
from pipeline.cluster.reporter import HEARTBEAT_SECONDS, Reporter


class StopSignal:
    """Whether the run is to end, as the coordinator says with every heartbeat of this replica.

    The heartbeats tell it the `counts` of the replica.
    """

    def __init__(self, reporter: Reporter, counts: Callable[[], EngineCounts]) -> None:
        self._reporter = reporter
        self._counts = counts
        self._asked = asyncio.Event()
        self.is_stopping = False
        self._deadline: asyncio.Task[None] | None = None

    async def may_begin(self) -> bool:
        """Whether the run goes on; waits for the first heartbeat to say so."""
        self._listen()
        await self._asked.wait()
        return not self.is_stopping

    async def comes_before(self, work: "asyncio.Future[Any]") -> bool:
        """Waits for the work and for the end of the time left to it; True if the latter is first.

        Raises what made the heartbeats fail: nothing counts as not read unless the run is to end.
        """
        deadline = self._listen()
        await asyncio.wait([work, deadline], return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            return False
        if not self.is_stopping:
            work.cancel()
            await deadline
        return True

    async def report(self) -> None:
        """Sends a heartbeat between those of every second; waits until it is answered."""
        self._listen()  # the coordinator waits for all whom it tells that the run goes on
        await self._heartbeat()

    def _listen(self) -> "asyncio.Task[None]":
        self._deadline = self._deadline or asyncio.create_task(self._until_deadline())
        return self._deadline

    async def _until_deadline(self) -> None:
        try:
            while (seconds := await self._heartbeat()) is None or seconds > 0:
                if seconds is not None:
                    self._stop()
                self._asked.set()
                await asyncio.sleep(min(HEARTBEAT_SECONDS, seconds or HEARTBEAT_SECONDS))
            self._stop()
        finally:
            self._asked.set()

    async def _heartbeat(self) -> float | None:
        return await self._reporter.heartbeat(self._counts(), self.is_stopping)

    def _stop(self) -> None:
        """Says at once that this replica begins nothing more: the end of the run waits for it."""
        if not self.is_stopping:
            self.is_stopping = True
            self._reporter.worked(self._counts(), self.is_stopping)
