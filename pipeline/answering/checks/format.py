"""The completion keeps the answer's format, and nothing else stands in it."""

from pipeline.answering.checks.base import Finding, Subject
from pipeline.core.records import Ask, Level

LEVEL: Level = "label"  # unless the format says more: what is no choice is no answer


def test(subject: Subject) -> Finding:
    fault = subject.format.fault(subject.completion.content)
    if fault is None:
        return Finding(True, "keeps the format")
    is_cut = subject.completion.finish_reason == "length" and not subject.is_prose
    return Finding(False, fault.why, "more_tokens" if is_cut else Ask(fault.ask))
