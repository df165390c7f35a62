"""The answer has at most `answer.max_words` words, counted as runs without white space."""

from pipeline.answering.checks.base import Finding, Subject
from pipeline.core.records import Ask, Level

LEVEL: Level = "fail"


def test(subject: Subject) -> Finding:
    words, most = len(subject.words), subject.max_words
    said = f"{words} words, at most {most}"
    if words <= most:
        return Finding(True, said)
    return Finding(
        False, said, Ask(f"Your answer has {words} words; answer again in at most {most}.")
    )
