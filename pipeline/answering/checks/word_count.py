"""The answer has at most `most` words, by default `answer.max_words`, and at least `least`."""

from typing import Annotated

from pydantic import Field

from pipeline.answering.checks.base import Finding, Subject
from pipeline.core.records import Ask, Level

LEVEL: Level = "fail"
OF_PROSE = True

Words = Annotated[int, Field(strict=True, ge=0)]


def test(subject: Subject, *, most: Words | None = None, least: Words = 0) -> Finding:
    words, most = subject.word_count, subject.max_words if most is None else most
    evidence = f"{words} words, at most {most}" + (f" and at least {least}" if least else "")
    if least <= words <= most:
        return Finding(True, evidence)
    wanted = f"at most {most}" if words > most else f"at least {least}"
    return Finding(
        False, evidence, Ask(f"Your answer has {words} words; answer again in {wanted}.")
    )
