"""An engine of vLLM that is timed. Importing this takes seconds."""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import Future
from threading import Thread
from typing import Any

from pipeline.core.errors import EngineError
from pipeline.core.records import Completion
from pipeline.engines.engine import GenerationError, Request
from pipeline.engines.vllm import REQUESTS_PER_SEQUENCE, VllmProcess
from pipeline.engines.vllm_processes import descendants, kill_and_wait

RESET_SECONDS = 5.0
"""Within which the last blocks of finished requests are free."""


class TimedEngine(VllmProcess):
    """One that answers requests at once and says how long that took."""

    @property
    def in_force(self) -> dict[str, Any]:
        """What vLLM has made of the options, by their names."""
        config = self._llm.vllm_config
        return {
            "max_num_seqs": config.scheduler_config.max_num_seqs,
            "max_num_batched_tokens": config.scheduler_config.max_num_batched_tokens,
            "gpu_memory_utilization": config.cache_config.gpu_memory_utilization,
            "max_cudagraph_capture_size": config.compilation_config.max_cudagraph_capture_size,
            "kv_cache_dtype": config.cache_config.cache_dtype,
            "block_size": config.cache_config.block_size,
        }

    def start_within(self, seconds: float) -> None:
        """Raises `EngineError` if it does not start, or not in time."""
        before, starting = descendants(), Future[None]()
        Thread(target=_settle, args=(starting, self.start), daemon=True).start()
        try:
            starting.result(seconds)
        except TimeoutError:
            kill_and_wait(descendants() - before)
            raise EngineError(f"was not ready after {seconds:.0f} s") from None

    async def timed(self, requests: Sequence[Request]) -> tuple[float, list[Completion | None]]:
        """Seconds from the first request to the last answer, fed as in a run, with nothing in the
        prefix cache at first.

        None stands for a request that the engine refused. Raises `EngineDied`.
        """
        await self._forget()
        places = asyncio.Semaphore(REQUESTS_PER_SEQUENCE * self.max_num_seqs)

        async def answered(request: Request) -> Completion | None:
            async with places:
                try:
                    return await self.generate(request, lambda: None)
                except GenerationError:
                    return None

        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(answered(request)) for request in requests]
        return time.monotonic() - began, [task.result() for task in tasks]

    async def _forget(self) -> None:
        until = time.monotonic() + RESET_SECONDS
        while not await self._llm.reset_prefix_cache() and time.monotonic() < until:
            await asyncio.sleep(0.05)


def _settle(future: "Future[None]", work: Any) -> None:
    try:
        future.set_result(work())
    except BaseException as error:  # noqa: BLE001  raised where the engine is wanted
        future.set_exception(error)
