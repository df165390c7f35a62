"""The completion is one answer between two `Answer:::` markers and nothing else."""

from pipeline.checks.subject import Finding, Subject, quote
from pipeline.model import ANSWER_MARKER, Level

LEVEL: Level = "label"  # a model that decodes freely keeps the frame too seldom to fail for it


def test(subject: Subject) -> Finding:
    before, *parts = subject.completion.text.split(ANSWER_MARKER)
    if not parts:
        return Finding(False, f"no {ANSWER_MARKER}")
    if before.strip():
        return Finding(False, f"text before the first {ANSWER_MARKER}: {quote(before)}")
    if len(parts) == 1:
        return Finding(False, f"no closing {ANSWER_MARKER}")
    if len(parts) > 2:
        return Finding(False, f"{len(parts)} markers {ANSWER_MARKER}, not two")
    answer, after = parts
    if after.strip():
        return Finding(False, f"text after the closing {ANSWER_MARKER}: {quote(after)}")
    if not answer.strip():
        return Finding(False, "nothing between the markers")
    return Finding(True, f"one answer between two {ANSWER_MARKER}")
