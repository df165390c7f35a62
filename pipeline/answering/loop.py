"""From a prompt to a checked answer: generate, extract, check, and repair what a check found."""

from dataclasses import dataclass

from pipeline.answering.extract import extract_answer
from pipeline.answering.repair import next_request
from pipeline.answering.stance import stance_of
from pipeline.checks import Check, run_checks
from pipeline.checks.subject import Subject
from pipeline.engines.engine import Engine, GenerationError, Request
from pipeline.model import (
    Answered,
    Attempt,
    CheckResult,
    Completion,
    Prompt,
    Repair,
    failing,
)

ENGINE_ERROR = "engine_error"
"""The check that a record fails which its engine could not answer."""


@dataclass(frozen=True, slots=True)
class Tried:
    """One attempt, and what its checks found; `repairs` are those that made it fail want."""

    completion: Completion
    answer: str
    checks: tuple[CheckResult, ...]
    repairs: tuple[Repair | None, ...] = ()

    @property
    def merit(self) -> tuple[bool, int, int]:
        """Sorts attempts: some answer before none, then by checks failed, then by checks missed."""
        missed = sum(not check.passed for check in self.checks)
        return bool(self.answer), -len(failing(self.checks)), -missed

    @property
    def attempt(self) -> Attempt:
        return Attempt(self.completion, failing(self.checks))


@dataclass(frozen=True, slots=True)
class AnsweringLoop:
    """An engine with the checks that its answers are held against."""

    engine: Engine
    checks: tuple[Check, ...]
    max_words: int
    attempts: int

    async def answer(self, prompt: Prompt) -> Answered:
        """The best answer to a prompt within the attempts; all of them are kept as evidence.

        Each attempt joins what the engine has running. Of two that are as good the later counts.
        """
        request: Request | None = Request.first(prompt)
        tried: list[Tried] = []
        while request and len(tried) < self.attempts:
            tried.append(last := await self._try(request))
            if not failing(last.checks):
                break
            request = next_request(request, last.completion, last.repairs)
        best = max(reversed(tried), key=lambda t: t.merit)
        return Answered(
            prompt=prompt,
            answer=best.answer,
            stance=stance_of(best.answer),
            completion=best.completion,
            checks=best.checks,
            attempts=tuple(t.attempt for t in tried),
        )

    async def _try(self, request: Request) -> Tried:
        try:
            completion = await self.engine.generate(request)
        except GenerationError as error:
            failed = CheckResult(ENGINE_ERROR, False, "fail", str(error))
            return Tried(Completion("", "error"), "", (failed,), (None,))
        answer = extract_answer(completion.text)
        subject = Subject(completion, answer, request.prompt.boilerplate, self.max_words)
        return Tried(completion, answer, *run_checks(self.checks, subject))
