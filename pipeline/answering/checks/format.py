"""The completion is one answer between two `Answer:::` markers and nothing else."""

from pipeline.answering.checks.base import Finding, Subject, quote
from pipeline.core.records import ANSWER_MARKER, Ask, Level

LEVEL: Level = "label"  # with free decoding, models keep the frame too rarely to fail for it


_ASK = Ask(
    f"Give your answer again between two lines that hold {ANSWER_MARKER} and nothing else, "
    "with no text before the first or after the second."
)


def test(subject: Subject) -> Finding:
    fault = _fault(subject.completion.content)
    if fault:
        return Finding(False, fault, _ASK)
    return Finding(True, f"one answer between two {ANSWER_MARKER}")


def _fault(completion: str) -> str | None:
    before, *parts = completion.split(ANSWER_MARKER)
    if not parts:
        return f"no {ANSWER_MARKER}"
    if before.strip():
        return f"text before the first {ANSWER_MARKER}: {quote(before)}"
    if len(parts) == 1:
        return f"no closing {ANSWER_MARKER}"
    if len(parts) > 2:
        return f"{len(parts)} markers {ANSWER_MARKER}, not two"
    answer, after = parts
    if after.strip():
        return f"text after the closing {ANSWER_MARKER}: {quote(after)}"
    return None if answer.strip() else "nothing between the markers"
