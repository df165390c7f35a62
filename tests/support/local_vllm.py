"""vLLM's engine without a cluster around it. Importing this imports vLLM."""

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from threading import Thread
from typing import Any, TypeVar

from pipeline.answering.evaluate import Evaluator
from pipeline.answering.judge import Judge
from pipeline.answering.loop import AnsweringLoop
from pipeline.config.schema import Job
from pipeline.core.records import Answered, Completion, Prompt
from pipeline.engines.engine import Request
from pipeline.engines.model_files import ModelSpec
from pipeline.engines.supervisor import Supervisor
from pipeline.engines.tokenizer import load_encoder
from pipeline.engines.vllm import VllmProcess

T = TypeVar("T")


class LocalVllm:
    """An engine with an event loop of its own, for tests that have none."""

    def __init__(self, job: Job) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.process = VllmProcess(job, load_encoder(ModelSpec.of(job)))
        self.process.start()
        self.supervisor = Supervisor(self.process, 16, 16, 300)

    def generate(self, *requests: Request) -> list[Completion]:
        """The completions of requests that are all open at once."""
        return self._run(self._gather(requests))

    def generate_as(self, job: Job, *requests: Request) -> list[Completion]:
        """As `generate`, under the sampling, decoding and chat template of another job for the same
        model.
        """
        with self._acting_for(job):
            return self.generate(*requests)

    def generate_once(self, job: Job, request: Request) -> Completion:
        """As `generate_as`, with nothing to restart a dead engine."""
        with self._acting_for(job):
            return self._run(self.process.generate(request, lambda: None))

    def answer_as(self, job: Job, *prompts: Prompt) -> list[Answered]:
        """What becomes of prompts that are all open at once: answered, checked and judged."""
        loop = AnsweringLoop(self.supervisor, Evaluator.of(job), job.attempts, Judge.of(job))

        async def answer() -> list[Answered]:
            return await asyncio.gather(*map(loop.answer, prompts))

        with self._acting_for(job):
            return self._run(answer())

    def close(self) -> None:
        self.process.kill()
        self._run(_cancel_others())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    @contextmanager
    def _acting_for(self, job: Job) -> Iterator[None]:
        acting = VllmProcess(job, load_encoder(ModelSpec.of(job)))
        own = {name: getattr(self.process, name) for name in ("_job", "_encoder", "_reasoner")}
        try:
            for name in own:
                setattr(self.process, name, getattr(acting, name))
            yield
        finally:
            for name, value in own.items():
                setattr(self.process, name, value)

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(300)

    async def _gather(self, requests: Sequence[Request]) -> list[Completion]:
        return await asyncio.gather(*map(self.supervisor.generate, requests))


async def _cancel_others() -> None:
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
