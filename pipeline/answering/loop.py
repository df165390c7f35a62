"""From a prompt to a checked answer: generate, extract, check, and repair failed checks."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipeline.answering.evaluate import EvaluatedAttempt, Evaluator, without_completion
from pipeline.answering.judge import Judge
from pipeline.answering.sharing import SharedEngine
from pipeline.core.records import Answered, Ask, Prompt, failing
from pipeline.engines.engine import Engine, GenerationError, Request


@dataclass(frozen=True, slots=True)
class AnsweringLoop:
    """An engine, the checks for its answers, the most attempts per prompt, and a judge, if any."""

    engine: Engine
    evaluator: Evaluator
    attempts: int
    judge: Judge | None = None

    async def answer(self, prompt: Prompt) -> Answered:
        """The best answer to a prompt; every attempt is kept as evidence.

        Each attempt joins the requests that the engine is already working on.
        """
        request: Request | None = Request.first(prompt)
        evaluated: list[EvaluatedAttempt] = []
        while request and len(evaluated) < self.attempts:
            evaluated.append(last := await self._attempt(request))
            if not failing(last.checks):
                break
            request = _next_request(request, last)
        best = self.evaluator.best_of(prompt, evaluated)
        return await self.judge.judged(best, self.engine) if self.judge else best

    async def answer_equal(self, prompts: Sequence[Prompt]) -> list[Answered]:
        """The best answers to prompts of one generation key, of generations that they share.

        Each is checked, judged and repaired as its record wants it: checks may read its columns.
        If the run ends meanwhile, all of them have an answer or none.
        """
        if len(prompts) == 1:
            return [await self.answer(prompts[0])]
        sharing = replace(self, engine=SharedEngine(self.engine))
        tasks = [asyncio.create_task(sharing.answer(prompt)) for prompt in prompts]
        try:
            await asyncio.wait(tasks)
        except asyncio.CancelledError:
            for task in tasks:
                task.cancel()  # which ends no answer that only waits for its judge
            await asyncio.wait(tasks)
        return await asyncio.gather(*tasks)

    async def _attempt(self, request: Request) -> EvaluatedAttempt:
        try:
            completion = await self.engine.generate(request)
        except GenerationError as error:
            evaluated = without_completion(str(error), error.generated_for)
        else:
            evaluated = self.evaluator.evaluate(completion, request.prompt)
        return replace(evaluated, asked=request.asked) if request.attempt else evaluated


def _next_request(request: Request, last: EvaluatedAttempt) -> Request | None:
    """The request that repairs a failed attempt; None if one of its faults cannot be repaired.

    All repairs go into one attempt: follow-up messages in one turn, with a larger token limit if
    that is asked for. If the answer is to be sampled anew, it is not discussed: the model would
    only imitate it.
    """
    anew, longer = "sample_anew" in last.repairs, "more_tokens" in last.repairs
    if None in last.repairs or (longer and request.own_limit):
        return None
    asks = () if anew else tuple(repair for repair in last.repairs if isinstance(repair, Ask))
    return request.retry(last.completion, asks, resample=anew, lengthen=longer)
