"""Text as its letters and digits alone, so that a layout's damage makes no difference.

Text of a PDF has lost hyphens and underscores, broken lines inside words and links, and ligatures
for letters. All that is gone once only letters and digits count, without case and accents.
"""

import re
import unicodedata
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

from pipeline.core.text import STOP_WORDS

_RUN = re.compile(r"[^\W_]+")
_GLYPH = re.compile(r"\(cid:\d+\)")
"""A character that a PDF's font did not name."""


@dataclass(frozen=True)
class Letters:
    """A text's runs of letters and digits, without case, accents and ligatures."""

    runs: list[str]

    @cached_property
    def text(self) -> str:
        """All runs without anything between them."""
        return "".join(self.runs)

    @cached_property
    def run_set(self) -> frozenset[str]:
        return frozenset(self.runs)

    @cached_property
    def initials(self) -> str:
        """The first letters of all runs, and once more without those of stop words."""
        initials = "".join(run[0] for run in self.runs)
        return f"{initials} {''.join(run[0] for run in self.runs if run not in STOP_WORDS)}"

    @cached_property
    def cuts(self) -> list[int]:
        """Offsets in `text` at which runs start and end, in order."""
        return list(accumulate(map(len, self.runs), initial=0))

    @cached_property
    def cut_set(self) -> frozenset[int]:
        return frozenset(self.cuts)

    def find_runs(self, piece: str) -> int:
        """Where a folded piece stands in the text as whole runs; -1 where it does not."""
        start = self.text.find(piece)
        while start >= 0:
            if start in self.cut_set and start + len(piece) in self.cut_set:
                return start
            start = self.text.find(piece, start + 1)
        return -1

    def holds(self, piece: str) -> bool:
        """Whether a folded piece stands in the text and ends where a run ends.

        A note's digit that is glued to a word, or a word that is glued to a number, ends a run too.
        """
        start = self.text.find(piece)
        while start >= 0:
            end = start + len(piece)
            if end in self.cut_set or self.text[end - 1].isdigit() != self.text[end].isdigit():
                return True
            start = self.text.find(piece, start + 1)
        return False

    def runs_around(self, start: int, end: int, margin: int) -> list[str]:
        """The runs from one offset to another, and so many on either side."""
        first = bisect_right(self.cuts, start) - 1 - margin
        return self.runs[max(0, first) : bisect_left(self.cuts, end) + margin]


def letters_of(text: str) -> Letters:
    """The text, folded; takes some 100 µs for 700 words."""
    if "(cid:" in text:
        text = _GLYPH.sub("", text)
    return Letters(_RUN.findall(_plain(text)))


def fold(text: str) -> str:
    """The letters and digits of a short text, folded."""
    return "".join(_RUN.findall(_plain(text)))


def _plain(text: str) -> str:
    """The text without case, accents and ligatures."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKD", text).casefold()
