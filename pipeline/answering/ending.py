"""Tells from the end of a text whether it breaks off.

Some ends are plain: on a comma, in a bracket, after an article. Others only make it likely, such as
a last sentence without a stop where the sentences before have one.
"""

import re

import regex
import sentencex

from pipeline.answering.function_words import DANGLING_ENDS, MAY_END, language_of

_TAIL = 2_000
"""So many last characters of a line are looked at."""

_STOP = regex.compile(r"[\p{Sentence_Terminal}…⋯།༎][\p{Pe}\p{Pf}\p{Pi}\"'`*_~]*$")
_ABBREVIATION = re.compile(
    r"(?i)(?:^|[\s(\[,])(?:e\.\s?g|i\.\s?e|cf|vs|viz|figs?|eqs?|approx|z\.\s?B|bzw|d\.\s?h|p\.\s?ex"
    r"|p\.\s?ej)\.$"
)
_NOTE_NUMBER = regex.compile(r"\p{L}[\"'”’)\]]*[\p{Sentence_Terminal}…][^\p{L}\s]*$")
_EMPTY_ITEM = re.compile(r"\s*(?:[-*•+]|\d+[.)])\s*")

_SIGN = regex.compile(
    r"[,，、،՝፣:：︰፥\p{Ps}]$"
    r"|[^\s:|]\s+[–—―-]$"  # a dash, but not one that stands for "none"
    r"|\p{Ll}{2}[-\u00ad‐–—]$"  # half a word, but not an ion or a grade
)
_NO_SIGN = re.compile(r"[:;=]['-]?[(\[{]$|\]\s*[^\[\]\s]+\s*[,;]\s*[^\[\]\s]+\s*\[$")
"""Smileys, and intervals that are open to the right."""
_LIKELY_SIGN = re.compile(r"(?:(?<!&amp)(?<!&lt)(?<!&gt)[;；؛]|\d\d[–—-])$")

_BRACKETS = ("()", "[]", "（）", "【】", "「」", "『』", "《》")
_SPOKEN_OF = re.compile(
    r"`[^`]*`|\$[^$]*\$"  # code and formulas
    r"|[\"'“”‘’][(\[][\"'“”‘’]|[:;=]['-]?[(\[]"  # brackets in quotation marks, smileys
    r"|[\[(\]]\s*[^\[\]()\s,;]{1,20}\s*[,;]\s*[^\[\]()\s,;]{1,20}\s*[\])\[]"  # intervals
)

_LAST_WORD = regex.compile(r"(?:^|(?<=[\s(\[\"“«„]))[\p{L}\p{M}]+$")
_PHRASE = re.compile(
    r"(?i)\b(?:(?:is|are|was|were|be|been|turn\w*|switch\w*|left|kept|stay\w*|so) on"
    r"|(?:is|are|was|were|be|been|log\w*|sign\w*|built|set\w*|fill\w*) in"
    r"|(?:knows?|aware|heard|think|thought|sure|made|speak) of"
    r"|(?:vitamin|hepatitis|group|type|class|part|panel|case|option|grade|plan|appendix) a)$"
)
"""Phrases that are complete, although they end on such a word."""

_LETTER_OR_DIGIT = regex.compile(r"(?:\p{L}\p{M}*|\p{Nd})$")
_LETTER_ALONE = regex.compile(r"\s\p{Lu}$")
_ADDRESS = re.compile(r"://|^www\.|^10\.\d{4,}/|@")
_NOTE = re.compile(
    r"(?i)(?:sources?|notes?|references?|refs?|citations?|see|cf|passages?|pages?|pp?|quellen?|siehe)"
    r"\b[^.!?]{0,80}|[\W\d]*"
)
"""A last sentence that is a note to the one before, or its number."""
_FENCE = re.compile(r"(?m)^\s*(?:```|~~~)")


def plain_break(text: str) -> str | None:
    """Why a text plainly breaks off, if it does."""
    before, line = _last_lines(text)
    if _EMPTY_ITEM.fullmatch(line) and (_EMPTY_ITEM.match(before) or before.endswith(":")):
        return "ends on an empty item"
    if _ABBREVIATION.search(line[-12:]):
        return "ends on an abbreviation that something follows"
    if _is_ended(line):
        return None
    if _SIGN.search(line[-40:]) and not _NO_SIGN.search(line[-40:]):
        return "ends on a sign that something follows"
    if _dangles(line):
        return "ends on a word that something follows"
    return _open_bracket(line)


def likely_break(text: str) -> str | None:
    """Why a text that does not break off plainly seems to do so, if it does."""
    before, line = _last_lines(text)
    if ("```" in text or "~~~" in text) and len(_FENCE.findall(text)) % 2:
        return "ends inside a block of code"
    if _is_ended(line):
        return None
    if _LIKELY_SIGN.search(line[-40:]) and not _EMPTY_ITEM.match(line):
        return "ends on a sign that something follows"
    if line.startswith("|") and before.endswith("|"):
        return None if line.endswith("|") else "the last row has no end"
    if line.rsplit(None, 1)[-1] in MAY_END:
        return "ends on a word that something follows"
    return "the last sentence has no end" if _lacks_stop(line) else None


def _last_lines(text: str) -> tuple[str, str]:
    """The last line but one that is not empty, and the last one, or as much as matters of it."""
    head, _, line = text.rstrip().rpartition("\n")
    return head.rstrip().rpartition("\n")[2], line.strip()[-_TAIL:]


def _is_ended(line: str) -> bool:
    """Whether a line is empty, or ends with the stop of a sentence."""
    return not line or line[-1] in ".!?" or bool(_STOP.search(line[-20:]))


def _dangles(line: str) -> bool:
    """Whether a line ends on an article, a preposition or a conjunction of its language."""
    if line.endswith(DANGLING_ENDS):
        return True
    last = _LAST_WORD.search(line[-40:])
    if not last or _PHRASE.search(line[-40:]):
        return False
    word = last[0]
    if not (word.islower() or (word.istitle() and len(word) > 1)):
        return False
    return word.lower() in language_of(line.lower().split()[-100:]).dangling


def _open_bracket(line: str) -> str | None:
    line = _SPOKEN_OF.sub("", line)
    for pair in _BRACKETS:
        if line.rfind(pair[0]) > line.rfind(pair[1]):
            return f"ends inside {pair}"
    return None


def _lacks_stop(line: str) -> bool:
    """Whether the last of several sentences ends as none does; names and addresses need no stop."""
    if not _LETTER_OR_DIGIT.search(line) or _LETTER_ALONE.search(line) or _NOTE_NUMBER.search(line):
        return False
    if _ADDRESS.search(line.rsplit(None, 1)[-1]):
        return False
    *_, last = sentencex.segment("en", line)
    if _NOTE.fullmatch(last):
        return False
    before = line[: len(line) - len(last)].rstrip()
    return bool(before) and _is_ended(before)
