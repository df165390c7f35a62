"""There is an answer at all."""

from pipeline.checks.subject import Finding, Subject, quote
from pipeline.model import Level

LEVEL: Level = "fail"


def test(subject: Subject) -> Finding:
    if subject.answer:
        return Finding(True, f"{len(subject.answer)} characters")
    if subject.completion.text.strip():
        return Finding(False, f"nothing but the frame: {quote(subject.completion.text)}")
    return Finding(False, "the completion is empty")
