"""The answer has at most `answer.max_words` words, counted as runs without white space."""

from pipeline.checks.subject import Finding, Subject
from pipeline.model import Level

LEVEL: Level = "fail"


def test(subject: Subject) -> Finding:
    words = len(subject.words)
    return Finding(words <= subject.max_words, f"{words} words, at most {subject.max_words}")
