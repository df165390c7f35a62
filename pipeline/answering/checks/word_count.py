"""The answer has at most `answer.max_words` words."""

from pipeline.answering.checks.base import Finding, Subject
from pipeline.core.records import Ask, Level

LEVEL: Level = "fail"
OF_PROSE = True


def test(subject: Subject) -> Finding:
    words, most = subject.word_count, subject.max_words
    evidence = f"{words} words, at most {most}"
    if words <= most:
        return Finding(True, evidence)
    ask = Ask(f"Your answer has {words} words; answer again in at most {most}.")
    return Finding(False, evidence, ask)
