"""The answer is finished: neither its finish reason nor its text shows that it was cut off."""

import re

from pipeline.answering.checks.base import Finding, Subject, quote
from pipeline.core.records import Ask, Level

LEVEL: Level = "fail"

_BROKEN_OFF = ("abort", "error")
_DANGLING_SIGN = re.compile(r"[,;:({\[–—-]$")
_DANGLING_WORD = re.compile(
    r"(?i)\b(?:a|an|the|of|to|in|on|at|by|for|from|with|and|or|but|as|than|that|which|is|are|was"
    r"|were|be|such|its|their|this|these)$"
)
_ENDED = re.compile(r"[.!?…][\"'”’)\]*`]*$")
_SENTENCE_BEFORE = re.compile(r"[a-z)][.!?][\"'”’)]*\s+\S")
_BRACKETS = (("(", ")"), ("[", "]"))


def test(subject: Subject) -> Finding:
    completion = subject.completion
    reason = completion.finish_reason
    evidence = f"finish reason {reason}" if reason else "ends as a text ends"
    if reason == "length" and completion.context_full:
        return Finding(False, f"{evidence}: the model's context is full")
    if reason == "length":
        evidence += f" after {completion.completion_tokens} tokens"
        return Finding(False, evidence, "more_tokens")
    if reason in _BROKEN_OFF:
        return Finding(False, evidence, "sample_anew")
    last_line = subject.answer.rsplit("\n", 1)[-1].rstrip()
    if why := _why_cut(last_line):
        ending = quote(last_line[-80:])
        words = f'Your answer breaks off at "{ending}". Give the whole answer again, to its end.'
        return Finding(False, f"{why}: …{ending}", Ask(words))
    return Finding(True, evidence)


def _why_cut(line: str) -> str | None:
    """Why a last line looks unfinished, if so; list items, names and links need no full stop."""
    if not line or _ENDED.search(line):
        return None
    if _DANGLING_SIGN.search(line):
        return "ends on a sign that something follows"
    if _DANGLING_WORD.search(line):
        return "ends on a word that something follows"
    for opened, closed in _BRACKETS:
        if line.rfind(opened) > line.rfind(closed):
            return f"ends inside {opened}{closed}"
    if _SENTENCE_BEFORE.search(line) and "://" not in line.rsplit(None, 1)[-1]:
        return "the last sentence has no end"
    return None
