"""From a prompt to a checked answer: generate, extract, check, and repair what a check found."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.answering.evaluate import EvaluatedAttempt, Evaluator, best_of, without_completion
from pipeline.core.records import Answered, Ask, Completion, Prompt, Repair, failing
from pipeline.engines.engine import Engine, GenerationError, Request


@dataclass(frozen=True, slots=True)
class AnsweringLoop:
    """An engine, and what its answers are held against."""

    engine: Engine
    evaluator: Evaluator
    attempts: int

    async def answer(self, prompt: Prompt) -> Answered:
        """The best answer to a prompt within the attempts; all of them are kept as evidence.

        Each attempt joins what the engine has running.
        """
        request: Request | None = Request.first(prompt)
        tried: list[EvaluatedAttempt] = []
        while request and len(tried) < self.attempts:
            tried.append(last := await self._try(request))
            if not failing(last.checks):
                break
            request = next_request(request, last.completion, last.repairs)
        return best_of(prompt, tried)

    async def _try(self, request: Request) -> EvaluatedAttempt:
        try:
            completion = await self.engine.generate(request)
        except GenerationError as error:
            return without_completion(str(error))
        return self.evaluator.evaluate(completion, request.prompt.boilerplate)


def next_request(
    request: Request, said: Completion, repairs: Sequence[Repair | None]
) -> Request | None:
    """The request that repairs an answer, or None where one of its faults is beyond repair.

    What several checks want goes into one attempt: their words in one turn, a larger token limit
    with it. An answer that is to be sampled anew is not talked about: it would only be imitated.
    """
    if None in repairs:
        return None
    anew, longer = "sample_anew" in repairs, "more_tokens" in repairs
    asks = () if anew else tuple(repair for repair in repairs if isinstance(repair, Ask))
    return request.retry(said, asks, resample=anew, lengthen=longer)
