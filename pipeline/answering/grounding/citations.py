"""Citations by author and year in an answer: `(Ash and Fir, 2019)`, `Ash et al. (2019)`.

A year is looked for first, then its authors are read backwards, word by word.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from pipeline.answering.grounding.folded import folded

YEAR = r"(?:1[89]\d\d|20[0-3]\d)"
_YEAR = re.compile(rf"(?<![\w./-]){YEAR}(?=[a-h]?(?![\w/-]))")
_GAP = re.compile(r"(?:['’]s?)?,?\s?(?:\[\d{1,3}\],?\s?)?\(?$")
_OTHERS = re.compile(r"(?:,? et al\.?,?|,? (?:and|&) (?:colleagues|others|co-?workers))$")
_TOKEN = re.compile(r"[^\W\d_]+(?:['’´¨`‐-][^\W\d_]+)*\.?|\S")
_INITIAL = re.compile(r"(?:[^\W\d_]\.-?){1,3}|[A-Z]")
_BETWEEN = frozenset({",", "&", "and", "…", "."})
_PARTICLES = "van von der den de del della di da la le el al ter ten dos"
_NO_AUTHORS = (
    "january february march april may june july august september october november december "
    "jan feb mar apr jun jul aug sep sept oct nov dec spring summer autumn fall winter in "
    "since until by during from between the year years early late mid dataset version "
    "edition figure fig table section see copyright of published informatics accessed "
    "retrieved conference workshop challenge university journal press vol release"
)
_OPENERS = (
    "furthermore moreover however also first second third finally the in for while whereas "
    "although this these both another references reference source sources study paper see by "
    "and as"
)
_YEARS = re.compile(rf"{YEAR}[a-h]?(?:(?:, | and | & |; |,)(?:{YEAR}[a-h]?|[a-h]\b))*")
_HEAD_LINE = re.compile(rf"\d ?\(({YEAR})\) ?\d")

WINDOW = 400
"""Characters before a year in which its authors stand."""

GLUED = 6
"""A name of so many letters is known behind others, where a text has lost its spaces."""

AS_FAR_AS = 1500
"""Characters between an author and the year in a prompt, at most: all authors stand between."""


class Citation(NamedTuple):
    """A citation: surnames as `folded`, its year, its offsets.

    So many names at the front may be no authors: `In the Delta, Ash and Fir (2019)`.
    """

    surnames: tuple[str, ...]
    year: str
    start: int
    end: int
    doubtful: int = 0


def citations_in(answer: str) -> Iterator[Citation]:
    """Every citation by author and year."""
    for year in _YEAR.finditer(answer):
        begin = answer.rfind("\n", max(0, year.start() - WINDOW), year.start()) + 1
        begin = max(begin, year.start() - WINDOW)
        if citation := _ends_at(answer, begin, year):
            yield citation


def holds(text: str, citation: Citation) -> bool:
    """Whether a `folded` text names the authors, and the year behind the first of them.

    The year of the paper itself stands in the head line of its pages, away from its authors.
    """
    return any(
        _holds(text, citation.surnames[at:], citation.year) for at in range(citation.doubtful + 1)
    )


def _holds(text: str, surnames: tuple[str, ...], year: str) -> bool:
    begin = "" if len(surnames[0]) >= GLUED else r"(?<![^\W\d_])"
    first = re.compile(rf"{begin}{re.escape(surnames[0])}(?:(?![^\W\d_])|(?=etal))")
    places = list(first.finditer(text))
    if not places or not all(name in text for name in surnames):
        return False
    return any(year in years_behind(text, place.end()) for place in places) or (
        year in _HEAD_LINE.findall(text)
    )


def years_behind(text: str, at: int) -> list[str]:
    """The year that comes first behind an offset, and those listed with it: `2017, 2019`."""
    years = _YEARS.search(text, at, at + AS_FAR_AS)
    return re.findall(YEAR, years[0]) if years else []


def _ends_at(answer: str, begin: int, year: re.Match[str]) -> Citation | None:
    """The citation that a year ends; None where no author stands before it."""
    before = answer[begin : year.start()]
    gap = _GAP.search(before)
    before = before[: gap.start()] if gap else before
    others = _OTHERS.search(before)
    before = before[: others.start()] if others else before
    tokens = list(_TOKEN.finditer(before))
    names, has_initials = _names(tokens)
    if others and not has_initials:
        names = names[:1]  # `in Python, and Ash et al. (2019)`
    if not names or folded(names[0][0]) in _NO_AUTHORS.split():
        return None
    while names and _opens(folded(names[-1][0])):
        names.pop()
    if not names:
        return None
    first = names[-1][1]
    space = gap[0] if gap else ""
    is_in_brackets = before[:first].rstrip().endswith(("(", ";", "[")) and "," in space
    is_plain = len(names) == 1 and not others
    if is_plain and not (is_in_brackets or "(" in space or (has_initials and "," in space)):
        return None
    surnames = tuple(folded(name) for name, _, _ in reversed(names))
    doubtful = 0 if has_initials else sum(by_comma for _, _, by_comma in names)
    return Citation(surnames, year[0], begin + first, year.end(), min(doubtful, len(names) - 1))


def _names(tokens: list[re.Match[str]]) -> tuple[list[tuple[str, int, bool]], bool]:
    """The names at the end of these words, the last first, and whether there are initials.

    Each with its offset, and whether a comma alone stands behind it.
    """
    names: list[tuple[str, int, bool]] = []
    has_initials, behind = False, ""
    for token in reversed(tokens):
        word = token[0]
        if word in _BETWEEN:
            behind = word if behind in ("", ",") else behind
        elif _INITIAL.fullmatch(word):
            has_initials = True
        elif names and behind == "" and word in _PARTICLES.split():
            name, _, by_comma = names[-1]
            names[-1] = (f"{word} {name}", token.start(), by_comma)
        elif word[0].isupper() and len(word) > 1 and not word.isupper():
            if behind or not names:
                names.append((word.rstrip("."), token.start(), bool(names) and behind == ","))
            behind = ""
        else:
            break
    return names, has_initials


def _opens(name: str) -> bool:
    """Whether a word with a capital letter only begins a sentence: `Similarly, Ash et al.`"""
    return name.endswith("ly") or name in _OPENERS.split()
