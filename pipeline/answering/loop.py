"""From a prompt to a checked answer: generate, extract, check, and repair what a check found."""

from dataclasses import dataclass

from pipeline.answering.evaluate import Judge, Tried, best_of, without_completion
from pipeline.answering.repair import next_request
from pipeline.core.records import Answered, Prompt, failing
from pipeline.engines.engine import Engine, GenerationError, Request


@dataclass(frozen=True, slots=True)
class AnsweringLoop:
    """An engine, and what its answers are held against."""

    engine: Engine
    judge: Judge
    attempts: int

    async def answer(self, prompt: Prompt) -> Answered:
        """The best answer to a prompt within the attempts; all of them are kept as evidence.

        Each attempt joins what the engine has running.
        """
        request: Request | None = Request.first(prompt)
        tried: list[Tried] = []
        while request and len(tried) < self.attempts:
            tried.append(last := await self._try(request))
            if not failing(last.checks):
                break
            request = next_request(request, last.completion, last.repairs)
        return best_of(prompt, tried)

    async def _try(self, request: Request) -> Tried:
        try:
            completion = await self.engine.generate(request)
        except GenerationError as error:
            return without_completion(str(error))
        return self.judge.hold(completion, request.prompt.boilerplate)
