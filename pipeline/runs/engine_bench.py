"""Measures engine settings: one engine at a time, kept for as long as it can serve what comes."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeline.config.schema import Job
from pipeline.core.errors import ConfigError, EngineError
from pipeline.core.records import Completion, Prompt
from pipeline.engines.engine import Request
from pipeline.engines.model_files import ModelSpec
from pipeline.engines.supervisor import EngineDied
from pipeline.engines.tokenizer import load_encoder
from pipeline.store.trials import Trial

if TYPE_CHECKING:
    from pipeline.engines.vllm_timing import TimedEngine

SEQUENCES = "max_num_seqs"
"""The option that needs no other engine: one for more sequences is given fewer."""

WARM_UP_RECORDS = 8


class Running(NamedTuple):
    """An engine and the settings that it was started with; `is_alone` for these and no others."""

    engine: "TimedEngine"
    settings: Mapping[str, Any]
    is_alone: bool


class EngineBench:
    """Answers a sample's prompts at temperature 0, whatever the job's own sampling is.

    Answers are then the same each time and cost the same work, so that settings can be compared.
    """

    def __init__(self, job: Job, prompts: Sequence[Prompt]) -> None:
        self._job = greedy(job)
        self._requests = [Request.first(_greedy(prompt)) for prompt in prompts]
        self._encoder = load_encoder(ModelSpec.of(job))
        self._runner = asyncio.Runner()
        self._running: Running | None = None
        self._present: int | None = job.engine.options.get(SEQUENCES)
        self._most: int | None = None

    def expect_sequences(self, present: int | None, values: Sequence[int]) -> None:
        """Engines that are started from now on have room for the largest of these; the job's own
        settings have `present` sequences.
        """
        self._present, self._most = present, max(values, default=None)

    def starts(self, settings: Mapping[str, Any], turn: int) -> bool:
        if self._running is None:
            return True
        engine, own, is_alone = self._running
        if turn or is_alone:
            return not (turn and is_alone and dict(settings) == dict(own))
        is_like = _but_sequences(settings) == _but_sequences(own)
        return not is_like or self._sequences(settings, engine) > engine.max_num_seqs

    def measure(self, settings: Mapping[str, Any], records: int, turn: int, limit: float) -> Trial:
        """A trial; why it failed, where the engine refused the settings or was too slow."""
        began = started = time.monotonic()
        trial = Trial(dict(settings), records, turn)
        try:
            running = None if self.starts(settings, turn) else self._running
            engine = (running or self._start(settings, turn)).engine
            started = time.monotonic()
            at_once = engine.fed if turn else self._sequences(settings, engine)
            seconds, completions = self._timed(engine, self._requests[:records], at_once, limit)
            trial = replace(
                trial,
                seconds=seconds,
                tokens=sum(c.prompt_tokens + c.completion_tokens for c in completions if c),
                answers=tuple(map(_digest, completions)),
                in_force=engine.in_force,
            )
        except (EngineError, ConfigError, EngineDied) as error:
            trial = self._failed(trial, str(error))
        except TimeoutError:
            trial = self._failed(trial, f"not done after {limit:.0f} s")
        return replace(trial, start=started - began, cost=time.monotonic() - began)

    def close(self) -> None:
        self.close_engine()
        self._runner.close()

    def _failed(self, trial: Trial, why: str) -> Trial:
        """An engine that failed serves no other trial."""
        self.close_engine()
        return replace(trial, failed=why)

    def _start(self, settings: Mapping[str, Any], turn: int) -> Running:
        """Starts an engine with room for more sequences if it can, else with what is asked for."""
        if not turn and self._most and self._most > settings.get(SEQUENCES, self._most):
            with suppress(EngineError):
                return self._begin({**settings, SEQUENCES: self._most}, False)
            self._most = None
        return self._begin(settings, bool(turn))

    def _begin(self, options: Mapping[str, Any], is_alone: bool) -> Running:
        from pipeline.engines.vllm_timing import TimedEngine

        self.close_engine()
        engine = TimedEngine(with_options(self._job, options), self._encoder)
        engine.start_within(self._job.engine.start_seconds)
        self._running = Running(engine, dict(options), is_alone)
        warm_up = self._requests[-WARM_UP_RECORDS:]
        self._timed(engine, warm_up, len(warm_up), self._job.engine.stall_seconds)
        return self._running

    def _timed(
        self, engine: "TimedEngine", requests: Sequence[Request], at_once: int, limit: float
    ) -> tuple[float, list[Completion | None]]:
        try:
            return self._runner.run(asyncio.wait_for(engine.timed(requests, at_once), limit))
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from failed

    def _sequences(self, settings: Mapping[str, Any], engine: "TimedEngine") -> int:
        """Requests at a time under some settings; for the job's own what vLLM has chosen."""
        return int(settings.get(SEQUENCES) or self._present or engine.max_num_seqs)

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


def _but_sequences(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name != SEQUENCES}


def _digest(completion: Completion | None) -> str:
    return blake2b(completion.text.encode(), digest_size=8).hexdigest() if completion else "refused"
