"""The answer was finished: neither the engine nor the text says that it was cut off."""

import re

from pipeline.checks.subject import Finding, Subject, quote
from pipeline.model import Level

LEVEL: Level = "fail"

_CUT_SHORT = ("length", "abort", "error")
_DANGLING_SIGN = re.compile(r"[,;:({\[–—-]$")
_DANGLING_WORD = re.compile(
    r"(?i)\b(?:a|an|the|of|to|in|on|at|by|for|from|with|and|or|but|as|than|that|which|is|are|was"
    r"|were|be|such|its|their|this|these)$"
)
_ENDED = re.compile(r"[.!?…][\"'”’)\]*`]*$")
_SENTENCE_BEFORE = re.compile(r"[a-z)][.!?][\"'”’)]*\s+\S")
_BRACKETS = (("(", ")"), ("[", "]"))


def test(subject: Subject) -> Finding:
    reason = subject.completion.finish_reason
    if reason in _CUT_SHORT:
        return Finding(False, f"finish reason {reason}")
    last_line = subject.answer.rsplit("\n", 1)[-1].rstrip()
    if why := _why_cut(last_line):
        return Finding(False, f"{why}: …{quote(last_line[-80:])}")
    return Finding(True, f"finish reason {reason}" if reason else "ends as a text ends")


def _why_cut(line: str) -> str | None:
    """What shows that a last line goes on; list items, names and links need no full stop."""
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
