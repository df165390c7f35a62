"""Evaluates completions with the checks of a job, and picks the best of several."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from pipeline.answering.answers_question import Estimate, estimate
from pipeline.answering.checks import Check, Unknown, chosen_checks, not_known, run_checks
from pipeline.answering.checks.base import Subject
from pipeline.answering.ground import Ground
from pipeline.answering.reasoning import Splitter, split_completion, splitter_of
from pipeline.answering.stance import stance_of
from pipeline.config.schema import Job
from pipeline.core.records import (
    ENGINE_ERROR,
    Answered,
    Attempt,
    CheckResult,
    Completion,
    Prompt,
    Repair,
    Stance,
    failing,
)
from pipeline.formats import format_of
from pipeline.formats.base import AnswerFormat, Extracted
from pipeline.formats.frame import FRAME


@dataclass(frozen=True, slots=True)
class EvaluatedAttempt:
    """One attempt with the results of its checks."""

    completion: Completion
    extracted: Extracted
    checks: tuple[CheckResult, ...]
    repairs: tuple[Repair | None, ...] = ()  # for the next attempt, by the checks that failed it
    asked: str | None = None  # of a repair

    @property
    def answer(self) -> str:
        return self.extracted.answer

    @property
    def merit(self) -> tuple[bool, int, int]:
        """Sort key: any answer beats none, then fewer failed checks, then fewer missed ones."""
        missed = sum(not check.passed for check in self.checks)
        return bool(self.answer), -len(failing(self.checks)), -missed

    @property
    def attempt(self) -> Attempt:
        return Attempt(self.completion, failing(self.checks), self.asked)


@dataclass(frozen=True, slots=True)
class Evaluator:
    """The checks of a job; the same completion always gets the same results.

    It travels to where answers are checked, with the sources of the user's own checks.
    """

    checks: tuple[Check, ...]
    max_words: int
    format: AnswerFormat = FRAME
    split: Splitter = split_completion
    estimates: bool = True

    @classmethod
    def of(cls, job: Job) -> Self:
        split = splitter_of(job.engine.reasoning)
        format_ = format_of(job.answer)
        checks = chosen_checks({"format": format_.level, **job.checks})
        return cls(checks, job.answer.max_words, format_, split, job.answer.estimate)

    def evaluate(
        self, completion: Completion, prompt: Prompt, unknown: Unknown = not_known
    ) -> EvaluatedAttempt:
        """Extracts the answer and runs every check on it."""
        completion = self.split(completion)
        extracted = self.format.extract(completion.content)
        is_prose = extracted.prose is not None
        text = extracted.answer if extracted.prose is None else extracted.prose
        subject = Subject.of(completion, text, prompt, self.max_words, self.format, is_prose)
        checks = tuple(check for check in self.checks if is_prose or not check.of_prose)
        whole = subject.with_whole(extracted.answer)
        found = run_checks(checks, subject, unknown, whole)
        return EvaluatedAttempt(completion, extracted, *found)

    def best_of(self, prompt: Prompt, attempts: Sequence[EvaluatedAttempt]) -> Answered:
        """The best attempt as the answer; of equally good ones, the latest."""
        best = max(reversed(attempts), key=lambda a: a.merit)
        stance, prose = _stance(best.extracted), best.extracted.prose
        estimated = _estimate(prose, stance, prompt) if prose and self.estimates else None
        return Answered(
            prompt=prompt,
            answer=best.answer,
            document=best.extracted.document,
            stance=stance,
            completion=best.completion,
            checks=best.checks,
            attempts=tuple(a.attempt for a in attempts),
            answers_question=estimated and estimated.verdict,
            p_answered=estimated and estimated.probability,
        )


def without_completion(why: str, generated_for: str | None = None) -> EvaluatedAttempt:
    """An attempt for which the engine gave no completion; `why` becomes the evidence."""
    failed = CheckResult(ENGINE_ERROR, False, "fail", why)
    completion = Completion("", "error", generated_for=generated_for)
    return EvaluatedAttempt(completion, Extracted("", ""), (failed,), (None,))


def _estimate(prose: str, stance: Stance, prompt: Prompt) -> Estimate:
    return estimate(prose, stance, prompt.record.question, Ground(prompt.messages).text)


def _stance(extracted: Extracted) -> Stance:
    """That of the prose; a document without any takes none."""
    if extracted.document is not None and extracted.prose is None:
        return "answered"
    return stance_of(extracted.prose or extracted.answer)
