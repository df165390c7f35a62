"""The numbers that an answer states: not those of its numbering, of names and of addresses."""

import re
from collections.abc import Iterator

from pipeline.answering.grounding.numerals import Numeral, numerals_in

_ADDRESS = re.compile(
    r"(?i)\b(?:https?://|www\.|doi[:.]?\s*|arxiv[:.]\s*)\S+|\b10\.\d{4,}/\S+|(?<!\S)\S{1,80}@\S+"
    r"|(?<![\w-])[\w-]{1,80}\.(?:com|org|net|io|edu|gov|pdf|csv|py)\b\S*|\b(?:ISBN|ISSN)\W*[\dX-]+"
    r"|\banswer length\b[^\n]*|\bword count\b[^\n]*|\(\d+ words\)"
    r"|\bconfidence(?: level| score)?\W{0,4}\d+"
)
_LINE_NUMBER = re.compile(
    r"(?m)^[^\w\n]*(\d{1,4})(?:[.):]+(?=[\s*_A-Z]|$)|\)| ?[-–] (?=[A-Z])|\s*\Z)"
)
_ORDERED = re.compile(r"(?<![\w.,])\(?(\d{1,2})(?:\)|[.:](?=\s))")
_LABEL = re.compile(
    r"(?i)\b(?:step|phase|stage|part|answer|query|question|passage|context|document|piece|point)s?"
    r"\W{1,3}(\d{1,3})\b"
)
_CITED = re.compile(r"(?<!=)(?<!= )\[\d{1,3}(?:\s?[,;–-]\s?\d{1,3})*\]")
_UNIT_RANGE = re.compile(r"[\[(][-−–+]?[01],\s?[-−–+]?[01][\])]")
_NAME_BEFORE = re.compile(r"(?:[^\W\d]|[^\W\d][-‐‑–]|[_/\\]|[^\W\d]\d*\.)$")
_AUTHOR_BEFORE = re.compile(r"(?:[A-Z][\w'’-]+|et al\.?|[A-Z]\.),? \(?$")
_NAME_BEHIND = re.compile(r"[DGd]\b|-?[A-Z]{2}|[a-z]\d|_")

NEVER_NEWS = frozenset({"0", "1"})
"""Numbers that every scale and definition has."""


def stated_numbers(answer: str) -> list[Numeral]:
    """The numbers that an answer takes from somewhere, in order."""
    aside = {at for begin, end in _spans_aside(answer) for at in range(begin, end)}
    return [
        numeral
        for numeral in numerals_in(answer)
        if not numeral.keys <= NEVER_NEWS
        and not _is_of_name(answer, numeral)
        and numeral.start not in aside
    ]


def is_cited_year(answer: str, numeral: Numeral) -> bool:
    """Whether a number is the year behind an author's name."""
    before = answer[max(0, numeral.start - 30) : numeral.start]
    return len(numeral.text) == 4 and bool(_AUTHOR_BEFORE.search(before))


def _is_of_name(answer: str, numeral: Numeral) -> bool:
    before = answer[max(0, numeral.start - 6) : numeral.start]
    return bool(_NAME_BEFORE.search(before) or _NAME_BEHIND.match(answer, numeral.end))


def _spans_aside(answer: str) -> Iterator[tuple[int, int]]:
    for pattern in (_ADDRESS, _CITED, _UNIT_RANGE):
        yield from (match.span() for match in pattern.finditer(answer))
    for pattern in (_LINE_NUMBER, _LABEL):
        yield from (match.span(1) for match in pattern.finditer(answer))
    follows = 1
    for match in _ORDERED.finditer(answer):
        number = int(match[1])
        if number in (1, follows):
            yield match.span(1)
            follows = number + 1
