"""Whether a run is to end, as its replicas hear it."""

import asyncio
from collections.abc import Callable
from typing import Any

from pipeline.cluster.reporter import HEARTBEAT_SECONDS, Reporter


class StopSignal:
    """Whether the run is to end, as the coordinator says with every heartbeat of this replica."""

    def __init__(self, reporter: Reporter, on_stop: Callable[[], object]) -> None:
        self._reporter = reporter
        self._on_stop = on_stop
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

    def _listen(self) -> "asyncio.Task[None]":
        self._deadline = self._deadline or asyncio.create_task(self._until_deadline())
        return self._deadline

    async def _until_deadline(self) -> None:
        try:
            while (seconds := await self._reporter.heartbeat()) is None or seconds > 0:
                if seconds is not None and not self.is_stopping:
                    self.is_stopping = True
                    self._on_stop()
                self._asked.set()
                await asyncio.sleep(min(HEARTBEAT_SECONDS, seconds or HEARTBEAT_SECONDS))
            self.is_stopping = True
        finally:
            self._asked.set()
