"""Every quotation of four words and more stands in the prompt, question and instructions included.

Letters and digits alone count, so that hyphens at line ends, ligatures and a layout's signs make no
difference. What stands between ellipses and brackets is compared piece by piece. Of the words of a
piece at least 85% stand in the prompt in order; one content word that another one stands for there
is a fault nevertheless, unless the two are alike, as an inflected or a damaged word is.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from rapidfuzz import fuzz
from rapidfuzz.distance import LCSseq

from pipeline.answering.checks.base import Finding, Subject
from pipeline.answering.grounding.letters import Letters, letters_of
from pipeline.answering.grounding.nearest import claim_at
from pipeline.answering.grounding.quotations import Quotation, quotations_of
from pipeline.answering.grounding.told import finding
from pipeline.core.records import Level
from pipeline.core.text import STOP_WORDS, content_words

LEVEL: Level = "label"
OF_PROSE = True

FEWEST_WORDS = 4
"""A quotation of fewer words is a term."""

SHARE = 0.85
"""Of a quotation's words that stand in the prompt in order, at least."""

PIECE, PIECE_LETTERS, LONGEST_PIECE = 3, 12, 60
"""Words of a piece that a layout has put elsewhere, at least; or letters of two words; and
words that are looked for at once, at most."""

MARGINS, SLACK = (2, 40), 8
"""Words around the place that is most like a quotation, in which its words may stand, tried in
turn; and words around a gap in which a word that is missing there may stand in another form."""

ALIKE, LONG, ANCHOR = 80, 5, 55
"""In percent: letters that two words of `LONG` letters and more, or a quotation and a place, have
in common."""

_LITTLE = (
    "been being can did does from had has have here how its may our she than those used uses using "
    "we were what when where which while who you your"
)
LITTLE = STOP_WORDS | frozenset(_LITTLE.split())
"""Words that quotations change without changing what is said."""

_GAPS = re.compile(r"…|\.\s?\.\s?\.(?:\s?\.)?|\[[^\]\n]*\]|\(\s*sic\s*\)")


def test(subject: Subject) -> Finding:
    quotations = list(long_quotations(subject.answer)) if subject.messages else []
    claims = tuple(
        claim_at(subject, "unsupported", quotation.start, quotation.end)
        for quotation in quotations
        if not _stands(quotation.text, subject.ground.letters)
    )
    return finding(subject, claims, "quotations")


def long_quotations(answer: str) -> Iterator[Quotation]:
    """The quotations of an answer that have enough words."""
    for quotation in quotations_of(answer):
        if len([w for w in quotation.text.split() if any(map(str.isalpha, w))]) >= FEWEST_WORDS:
            yield quotation


def _stands(quotation: str, ground: Letters) -> bool:
    pieces = (letters_of(piece) for piece in _GAPS.split(quotation))
    return all(
        piece.text in ground.text
        or _stands_in_pieces(piece.runs, ground)
        or _is_alike(piece, ground)
        for piece in pieces
    )


def _stands_in_pieces(words: list[str], ground: Letters) -> bool:
    """Whether a layout has put pieces of a quotation to different places.

    A piece is long enough not to stand there by chance; little words between two may be others.
    """
    others = (1 - SHARE) * len(words)
    while words:
        count = _held_words(words, ground)
        if not count and words[0] in LITTLE and others >= 1:
            count, others = 1, others - 1
        if not count:
            return False
        words = words[count:]
    return True


def _held_words(words: list[str], ground: Letters) -> int:
    """How many of the words stand in the prompt in one piece, from the first on."""
    for count in range(min(len(words), LONGEST_PIECE), 1, -1):
        piece = "".join(words[:count])
        if (count >= PIECE or len(piece) >= PIECE_LETTERS) and piece in ground.text:
            return count
    return 0


def _is_alike(piece: Letters, ground: Letters) -> bool:
    """Whether the most similar place has the piece's words in order, without another for one."""
    place = fuzz.partial_ratio_alignment(piece.text, ground.text, score_cutoff=ANCHOR)
    if place is None:
        return False
    return any(
        _has_words(piece.runs, ground.runs_around(place.dest_start, place.dest_end, margin))
        for margin in MARGINS
    )


def _has_words(words: list[str], there: list[str]) -> bool:
    missing = list(_missing(words, there))
    return len(missing) <= (1 - SHARE) * len(words) and not any(map(_has_content, missing))


def _missing(words: list[str], there: list[str]) -> Iterator[str]:
    """The words of a quotation that do not stand in a place of the prompt, in order."""
    said, known = 0, 0
    for block in LCSseq.opcodes(words, there).as_matching_blocks():
        between = Between(there[max(0, known - SLACK) : block.b + SLACK], there)
        yield from (word for word in words[said : block.a] if not between.holds(word))
        said, known = block.a + block.size, block.b + block.size


@dataclass(frozen=True)
class Between:
    """The words of the prompt between two that a quotation shares with it, and all around."""

    words: list[str]
    around: list[str]

    def holds(self, word: str) -> bool:
        """Whether the word stands here inflected, misspelt, glued to others, or cut in two."""
        if any(map(str.isdigit, word)):
            return word in "".join(self.words)
        return (
            content_words(word) <= self._stems
            or (len(word) >= LONG and word.removesuffix("s") in "".join(self.words))
            or any(_is_damaged(word, other) for other in self.words)
            or self._holds_halves(word)
        )

    def _holds_halves(self, word: str) -> bool:
        halves = ((word[:cut], word[cut:]) for cut in range(2, len(word) - 1))
        return any(one in self.around and other in self.around for one, other in halves)

    @cached_property
    def _stems(self) -> frozenset[str]:
        return content_words(" ".join(self.words))


def _is_damaged(word: str, other: str) -> bool:
    """Whether a word of the prompt is another spelling of ours, or the half of it that is left."""
    if len(word) < LONG or len(other) < LONG:
        return False
    return word.startswith(other) or word.endswith(other) or fuzz.ratio(word, other) >= ALIKE


def _has_content(word: str) -> bool:
    return (len(word) > 2 and word not in LITTLE) or any(map(str.isdigit, word))
