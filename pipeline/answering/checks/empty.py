"""There is an answer at all."""

from pipeline.answering.checks.base import Finding, Subject, quote, unclosed_thought
from pipeline.core.records import Ask, Level

LEVEL: Level = "fail"

_ASK = Ask("Your answer is empty. Answer the question, or say that the passages do not.")


def test(subject: Subject) -> Finding:
    if subject.answer:
        return Finding(True, f"{len(subject.answer)} characters")
    if finding := unclosed_thought(subject.completion):
        return finding
    if subject.completion.content.strip():
        return Finding(False, f"nothing but the frame: {quote(subject.completion.content)}", _ASK)
    if subject.completion.reasoning:
        return Finding(False, "nothing behind the thought", "sample_anew")
    return Finding(False, "the completion is empty", "sample_anew")
