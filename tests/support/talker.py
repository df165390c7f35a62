"""vLLM's engine without a cluster around it. Importing this imports vLLM."""

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from threading import Thread
from typing import Any, TypeVar

from pipeline.config.schema import Job
from pipeline.core.records import Completion
from pipeline.engines.engine import Request
from pipeline.engines.supervisor import Supervisor
from pipeline.engines.tokenizer import load_encoder
from pipeline.engines.vllm import VllmBody

T = TypeVar("T")


class Talker:
    """An engine with an event loop of its own, asked from tests that have none."""

    def __init__(self, job_: Job) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.body = VllmBody(job_, load_encoder(job_))
        self.body.start()
        self.engine = Supervisor(self.body, 16, 300)

    def ask(self, *requests: Request) -> list[Completion]:
        """The completions of requests that are all open at once."""
        return self.run(self._gather(requests))

    def ask_as(self, job: Job, *requests: Request) -> list[Completion]:
        """As `ask`, under the sampling and decoding of another job for the same model."""
        with self._talking_as(job):
            return self.ask(*requests)

    def ask_body_as(self, job: Job, asked: Request) -> Completion:
        """As `ask_as`, with nobody to start a dead engine again."""
        with self._talking_as(job):
            return self.run(self.body.generate(asked, lambda: None))

    @contextmanager
    def _talking_as(self, job: Job) -> Iterator[None]:
        own, self.body._job = self.body._job, job
        try:
            yield
        finally:
            self.body._job = own

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(300)

    def close(self) -> None:
        self.body.kill()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    async def _gather(self, requests: Sequence[Request]) -> list[Completion]:
        return await asyncio.gather(*map(self.engine.ask, requests))
