"""Equal prompts: what is asked of the engine for several records alike is generated once."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pipeline.config.schema import Job
from pipeline.core.records import Completion, Prompt
from pipeline.engines import shares_generations
from pipeline.engines.engine import Engine, GenerationError, Request


def equal_prompts(prompts: Sequence[Prompt], job: Job) -> list[tuple[Prompt, ...]]:
    """The prompts by generation key, in their order; each by itself if the job wants it so.

    A key stands for every order of a prompt's passages: what the first of a group holds is sent.
    """
    if not shares_generations(job):
        return [(prompt,) for prompt in prompts]
    groups: dict[str, list[Prompt]] = {}
    for prompt in prompts:
        group = groups.setdefault(prompt.generation_key, [])
        group.append(replace(prompt, messages=group[0].messages) if group else prompt)
    return [*map(tuple, groups.values())]


class SharedEngine:
    """An engine for the prompts of one generation key, which generates equal requests once.

    A completion is generated for the record that asks first; the others get it with the id of that
    record, and an error too. Those who wait for a request are to be cancelled together.
    """

    def __init__(self, engine: Engine) -> None:
        self.kind, self.version = engine.kind, engine.version
        self._engine = engine
        self._generations: dict[tuple[Any, ...], tuple[str, asyncio.Future[Completion]]] = {}

    async def generate(self, request: Request) -> Completion:
        asked = _what_is_asked(request)
        if asked in self._generations:
            record_id, generation = self._generations[asked]
            try:
                return replace(await generation, generated_for=record_id)
            except GenerationError as error:
                raise GenerationError(str(error), record_id) from error
        generation = asyncio.ensure_future(self._engine.generate(request))
        self._generations[asked] = request.prompt.record.record_id, generation
        return await generation


def _what_is_asked(request: Request) -> tuple[Any, ...]:
    """All that a completion depends on, for requests of one generation key."""
    return (
        request.messages,
        request.attempt,
        request.resampled,
        request.lengthened,
        request.max_tokens,
        request.choices,
        request.said.text if request.said else None,
    )
