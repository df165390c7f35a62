"""A completion held against the checks, and the best of several."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.answering.checks import Check, run_checks
from pipeline.answering.checks.base import Subject
from pipeline.answering.extract import extract_answer
from pipeline.answering.stance import stance_of
from pipeline.core.records import (
    ENGINE_ERROR,
    Answered,
    Attempt,
    CheckResult,
    Completion,
    Prompt,
    Repair,
    failing,
)


@dataclass(frozen=True, slots=True)
class EvaluatedAttempt:
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
class Evaluator:
    """The checks of a job; the same completion is always judged the same."""

    checks: tuple[Check, ...]
    max_words: int

    def evaluate(self, completion: Completion, boilerplate: str) -> EvaluatedAttempt:
        """Extracts the answer and runs every check on it."""
        answer = extract_answer(completion.text)
        subject = Subject(completion, answer, boilerplate, self.max_words)
        return EvaluatedAttempt(completion, answer, *run_checks(self.checks, subject))


def without_completion(why: str) -> EvaluatedAttempt:
    """An attempt to which the engine gave no completion."""
    failed = CheckResult(ENGINE_ERROR, False, "fail", why)
    return EvaluatedAttempt(Completion("", "error"), "", (failed,), (None,))


def best_of(prompt: Prompt, tried: Sequence[EvaluatedAttempt]) -> Answered:
    """The best attempt as the answer; of two that are as good the later counts."""
    best = max(reversed(tried), key=lambda t: t.merit)
    return Answered(
        prompt=prompt,
        answer=best.answer,
        stance=stance_of(best.answer),
        completion=best.completion,
        checks=best.checks,
        attempts=tuple(t.attempt for t in tried),
    )
