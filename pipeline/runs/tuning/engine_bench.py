"""Measures engine settings: one engine at a time, kept for as long as it can serve what comes."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeline.config.schema import Job
from pipeline.core.errors import message_of
from pipeline.core.interrupts import interruptible
from pipeline.core.records import Completion, Prompt
from pipeline.engines.engine import Request
from pipeline.engines.model_files import ModelSpec
from pipeline.engines.tokenizer import load_encoder
from pipeline.store.trials import REFUSED, Trial

if TYPE_CHECKING:
    from pipeline.engines.vllm_timing import TimedEngine

WARM_UP_RECORDS = 8


class Running(NamedTuple):
    """An engine and the settings that it was started with."""

    engine: "TimedEngine"
    settings: Mapping[str, Any]


class EngineBench:
    """Answers a sample's prompts at temperature 0, whatever the job's own sampling is.

    Answers are then the same each time and cost the same work, so that settings can be compared.
    No option is changed in a running engine: vLLM has no way to, and one that is sent fewer
    requests than it has room for lacks those that wait in it in a run.
    """

    def __init__(self, job: Job, prompts: Sequence[Prompt]) -> None:
        self._job = greedy(job)
        self._requests = [Request.first(_greedy(prompt)) for prompt in prompts]
        self._encoder = load_encoder(ModelSpec.of(job))
        self._runner = asyncio.Runner()
        self._running: Running | None = None

    def starts(self, settings: Mapping[str, Any]) -> bool:
        return self._running is None or dict(settings) != dict(self._running.settings)

    def measure(self, settings: Mapping[str, Any], records: int, turn: int, limit: float) -> Trial:
        """A trial; why it failed, where the engine refused the settings or was too slow."""
        began = started = time.monotonic()
        trial = Trial(dict(settings), records, turn)
        try:
            running = None if self.starts(settings) else self._running
            engine = (running or self._start(settings)).engine
            started = time.monotonic()
            seconds, completions = self._timed(engine, self._requests[:records], limit)
            trial = replace(
                trial,
                seconds=seconds,
                tokens=sum(c.prompt_tokens + c.completion_tokens for c in completions if c),
                answers=tuple(map(_digest, completions)),
                in_force=engine.in_force,
            )
        except TimeoutError:
            trial = self._failed(trial, f"not done after {limit:.0f} s")
        except Exception as error:  # noqa: BLE001  vLLM refuses settings with many kinds of them
            trial = self._failed(trial, message_of(error))
        return replace(trial, start=started - began, cost=time.monotonic() - began)

    def close(self) -> None:
        self.close_engine()
        self._runner.close()

    def _failed(self, trial: Trial, why: str) -> Trial:
        """An engine that failed serves no other trial."""
        self.close_engine()
        return replace(trial, failed=why)

    def _start(self, settings: Mapping[str, Any]) -> Running:
        from pipeline.engines.vllm_timing import TimedEngine

        self.close_engine()
        engine = TimedEngine(with_options(self._job, settings), self._encoder)
        engine.start_within(self._job.engine.start_seconds)
        self._running = Running(engine, dict(settings))
        self._timed(engine, self._requests[-WARM_UP_RECORDS:], self._job.engine.stall_seconds)
        return self._running

    def _timed(
        self, engine: "TimedEngine", requests: Sequence[Request], limit: float
    ) -> tuple[float, list[Completion | None]]:
        try:
            return self._runner.run(interruptible(asyncio.wait_for(engine.timed(requests), limit)))
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from failed

    def close_engine(self) -> None:
        if self._running is not None:
            self._running.engine.kill()
            self._running = None


def greedy(job: Job) -> Job:
    """A job that samples nothing."""
    sampling = job.sampling.model_copy(update={"temperature": 0.0, "seed": None})
    return job.model_copy(update={"sampling": sampling})


def with_options(job: Job, options: Mapping[str, Any]) -> Job:
    merged = {**job.engine.options, **options}
    return job.model_copy(update={"engine": job.engine.model_copy(update={"options": merged})})


def _greedy(prompt: Prompt) -> Prompt:
    """A prompt whose line of a batch file, if it has one, samples nothing."""
    line = prompt.record.batch
    if line is None:
        return prompt
    still = replace(line, sampling={**line.sampling, "temperature": 0.0})
    return replace(prompt, record=replace(prompt.record, batch=still))


def _digest(completion: Completion | None) -> str:
    return blake2b(completion.text.encode(), digest_size=8).hexdigest() if completion else REFUSED
