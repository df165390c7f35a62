"""Answers a few records in this process, with all that can be seen on the way; stores nothing.

The records are the first ones of the input, in its order. Reading goes on while they are answered,
and ends once there are enough.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import orjson

from pipeline.answering.engine_loader import EngineLoader
from pipeline.answering.prepare import Prepared
from pipeline.cluster.reporter import Reporter
from pipeline.config.schema import Job
from pipeline.config.selection import Selection
from pipeline.core.errors import ConfigError
from pipeline.core.extra import dump_extra
from pipeline.core.interrupts import interruptible
from pipeline.core.records import Answered, Completion, Fault, Message, Prompt, Record, Reject
from pipeline.engines import generation_identity
from pipeline.engines.engine import Engine, Request
from pipeline.engines.model_files import ModelSpec
from pipeline.engines.tokenizer import shared_encoder
from pipeline.engines.vllm_processes import processes_ended
from pipeline.prompting.fit import fitting
from pipeline.prompting.render import prompt_of
from pipeline.prompting.template import PromptSource
from pipeline.reading.source import read_items

MOST_REJECTS = 1000
"""Reading ends after so many rejects: whatever is wrong with the input shows by then."""

Rendered: TypeAlias = Prompt | Reject


@dataclass(frozen=True, slots=True)
class PreviewedAnswer:
    """One answer to a record, with the prompt as the model reads it and every request made.

    `text` is None where the engine is sent the messages themselves. `seconds` are those that passed
    until the answer was there, all attempts included.
    """

    source: PromptSource
    text: str | None
    answered: Answered
    requests: tuple[Request, ...]
    seconds: float
    engine_version: str


@dataclass(frozen=True, slots=True)
class PreviewedRecord:
    """A record, by its number among those previewed, and its answer under each template."""

    number: int
    record: Record
    sides: tuple[PreviewedAnswer | Reject, ...]


Previewed: TypeAlias = PreviewedRecord | Reject


def preview(
    prepared: Prepared, against: Sequence[PromptSource], show: Callable[[Previewed], object]
) -> None:
    """Answers records under the job's template and those of `against`.

    `show` gets each record once it is answered, and each reject that is met before the last of
    them. Raises `EngineError` and `StorageError`, and `ConfigError` for a job that only judges.
    """
    if prepared.job.input.store:
        raise ConfigError("input.store: a preview answers records; overnight plan counts verdicts")
    with processes_ended():
        asyncio.run(interruptible(_preview(prepared, (prepared.source, *against), show)))


async def _preview(
    prepared: Prepared, sources: Sequence[PromptSource], show: Callable[[Previewed], object]
) -> None:
    answerer = _Answerer(prepared, sources)

    async def answer(number: int, prompts: Sequence[Rendered]) -> None:
        show(await answerer.answer(number, prompts))

    number = 0
    try:
        async with asyncio.TaskGroup() as answering:
            async for prompts in _looked_at(prepared, sources):
                if isinstance(prompts[0], Reject):
                    show(prompts[0])
                else:
                    answering.create_task(answer(number, prompts))
                    number += 1
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from failed


async def _looked_at(
    prepared: Prepared, sources: Sequence[PromptSource]
) -> AsyncIterator[tuple[Rendered, ...]]:
    """The selected records, rendered by each template, until there are enough prompts."""
    job, selection = prepared.job, prepared.selection
    identity, fit = generation_identity(job), fitting(job)
    prompts = rejects = 0
    for item in read_items(prepared.listing.shards, job.input, prepared.storage):
        await asyncio.sleep(0)  # answers come in while records are looked for
        if not (selection.covers(item) and job.input.bucket.holds(item.paper)):
            continue
        if isinstance(item, Reject):
            rendered: tuple[Rendered, ...] = (item,)
        else:
            record = between_stages(item)
            rendered = tuple(prompt_of(record, s, identity(record), fit) for s in sources)
        yield rendered
        prompts += isinstance(rendered[0], Prompt)
        rejects += isinstance(rendered[0], Reject)
        if prompts == _most_records(selection) or rejects == MOST_REJECTS:
            return


def between_stages(record: Record) -> Record:
    """A record as templates and checks have it in a run, where its columns have been JSON."""
    return replace(record, extra=orjson.loads(dump_extra(record.extra) or b"{}"))


def _most_records(selection: Selection) -> int | None:
    """The limit; where records are named, not more than that many, so that reading ends there."""
    named = selection.only.get("record_id")
    return min(len(named), selection.limit or len(named)) if named else selection.limit


class _Answerer:
    """Answers prompts with the job's engine, which opens when the first of them comes.

    Raises `EngineError` for a model without files, `ConfigError` if its chat template refuses what
    a prompt template makes.
    """

    def __init__(self, prepared: Prepared, sources: Sequence[PromptSource]) -> None:
        job, self._sources = prepared.job, sources
        self._loader = EngineLoader(job, sources[0], prepared.evaluator, Reporter(), prepared.judge)
        self._text = _text_for_model(job, sources)

    async def answer(self, number: int, prompts: Sequence[Rendered]) -> PreviewedRecord:
        sides = await asyncio.gather(*map(self._side, self._sources, prompts))
        (record, *_) = (prompt.record for prompt in prompts if isinstance(prompt, Prompt))
        return PreviewedRecord(number, record, tuple(sides))

    async def _side(self, source: PromptSource, prompt: Rendered) -> PreviewedAnswer | Reject:
        if isinstance(prompt, Reject):
            return prompt
        loop = await self._loader.loaded()
        engine = _RequestLog(loop.engine)
        began = time.monotonic()
        answered = await replace(loop, engine=engine).answer(prompt)
        seconds, text = time.monotonic() - began, self._text(prompt.messages)
        requests = tuple(engine.requests)
        return PreviewedAnswer(source, text, answered, requests, seconds, engine.version)


def _text_for_model(
    job: Job, sources: Sequence[PromptSource]
) -> Callable[[Sequence[Message]], str | None]:
    """What a model of ours reads for some messages; None for other engines, and if it refuses."""
    if job.engine.kind != "vllm":
        return lambda _: None
    encoder = shared_encoder(ModelSpec.of(job))
    for source in sources:
        encoder.check_shape(source.sample)

    def text(messages: Sequence[Message]) -> str | None:
        try:
            return encoder.text(messages)
        except Fault:  # the answer's `engine_error` says so
            return None

    return text


class _RequestLog:
    """An engine that keeps the requests which it is sent, one an attempt."""

    def __init__(self, engine: Engine) -> None:
        self.kind, self.version = engine.kind, engine.version
        self.requests: list[Request] = []
        self._engine = engine

    async def generate(self, request: Request) -> Completion:
        self.requests.append(request)
        return await self._engine.generate(request)
