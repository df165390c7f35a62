"""Lists of references at the end of an answer, and citations by number in brackets."""

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from pipeline.answering.grounding.citations import YEAR
from pipeline.answering.grounding.folded import folded
from pipeline.core.text import STOP_WORDS

_HEADING = re.compile(
    r"(?im)^[ \t>*_#]{0,8}(?:list of )?(?:references?|reference\(s\)|bibliography|works cited"
    r"|further reading)[ \t*_]{0,4}(?::|$)[ \t*_]*"
)
_ITEM = re.compile(r"[^\n]+")
_MARK = re.compile(r"[\s>*•–-]*(?:\[?\(?\d{1,3}[\].)]+)?[\s*:-]*")
_CITED = re.compile(r"(?<![\w=\]])(\[\d{1,3}(?:\s?[,;–-]\s?\d{1,3})*\])")
_NO_CITATION_BEFORE = re.compile(
    r"(?:range|ranges|between|interval|scale|scaled|from|to|within|in|of|shape|is|as|are|or|and"
    r"|sizes?|kernel|values?|=|,)[\s:]*$"
)
_HEAD_LINE = re.compile(r"\S*\d ?\(\d{4}\) ?\d")  # of a page, which a model copies
_ADDRESS = re.compile(r"https?://\S+|doi\S*\s?\S+")
_LINE_NUMBER = re.compile(r"(?m)(?:^\s*\[?(?=\d+\W*\s)|(?<=[.\]\s/])(?=\d+\.[^\W\d]))(\d{1,3})\b")
_WORD = re.compile(r"[^\W\d_]+")

HELD_SHARE = 0.7
"""Share of an item's words that the prompt has, in whatever place, if it has the item."""

FEWEST_WORDS = 3


class Item(NamedTuple):
    """An item of a list of references, with its offsets."""

    text: str
    start: int
    end: int

    def is_held(self, text: str) -> bool:
        """Whether a `folded` text has most of the item's words, one behind the other."""
        words = _WORD.findall(folded(self.text))
        long = [word for word in words if len(word) > 2 and word not in STOP_WORDS]
        if len(long) < FEWEST_WORDS:
            return True
        letters = "".join(filter(str.isalpha, text))
        held = sum(word in letters for word in long)
        follow = sum(one + other in letters for one, other in pairwise(words))
        return held >= HELD_SHARE * len(long) and 2 * follow >= len(words) - 1


def items_in(answer: str) -> Iterator[Item]:
    """The items behind a heading such as `References:` that look like a work's."""
    heading = _HEADING.search(answer)
    if not heading:
        return
    for line in _ITEM.finditer(answer, heading.end()):
        mark = _MARK.match(line[0])
        start = line.start() + (mark.end() if mark else 0)
        text = _ADDRESS.sub("", answer[start : line.end()]).strip()
        if _HEAD_LINE.match(text):
            continue
        if re.search(YEAR, text) or "et al" in text or '"' in text:
            yield Item(text, start, line.end())


def cited_numbers(answer: str) -> Iterator[tuple[tuple[int, int], set[int]]]:
    """Citations by number, `[3]` or `[3, 7-9]`: offsets and numbers."""
    for match in _CITED.finditer(answer):
        numbers = _numbers(match[1])
        before = answer[max(0, match.start() - 20) : match.start()].lower()
        if 0 not in numbers and not _NO_CITATION_BEFORE.search(before):
            yield match.span(1), numbers


def numbers_of(text: str) -> set[int]:
    """The numbers that a prompt cites by, or begins a line with, as its list of references does."""
    found = {int(number) for number in _LINE_NUMBER.findall(text)}
    for match in re.findall(r"\[\s?\d{1,3}(?:\s?[,;–-]\s?\d{1,3})*\s?\]", text):
        found |= _numbers(match)
    return found


def _numbers(bracket: str) -> set[int]:
    """`[3, 7-9]`: 3, 7, 8 and 9."""
    numbers = set()
    for part in re.split(r"[,;]", bracket.strip("[] ")):
        first, *last = (int(n) for n in re.findall(r"\d+", part))
        numbers |= set(range(first, (last or [first])[-1] + 1))
    return numbers
