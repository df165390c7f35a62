"""From a prompt to a checked answer: generate, extract, check."""

from dataclasses import dataclass

from pipeline.answering.extract import extract_answer
from pipeline.answering.stance import stance_of
from pipeline.checks import Check, run_checks
from pipeline.checks.subject import Subject
from pipeline.engines import Engine
from pipeline.model import Answered, Attempt, Prompt, failing


@dataclass(frozen=True, slots=True)
class AnsweringLoop:
    """An engine with the checks that its answers are held against."""

    engine: Engine
    checks: tuple[Check, ...]
    max_words: int

    def answer(self, prompt: Prompt) -> Answered:
        """The answer to a prompt; failed or not, it keeps its completion and evidence."""
        completion = self.engine.generate(prompt)
        answer = extract_answer(completion.text)
        checks = run_checks(
            self.checks, Subject(completion, answer, prompt.boilerplate, self.max_words)
        )
        return Answered(
            prompt=prompt,
            answer=answer,
            stance=stance_of(answer),
            completion=completion,
            checks=checks,
            attempts=(Attempt(completion, failing(checks)),),
        )
