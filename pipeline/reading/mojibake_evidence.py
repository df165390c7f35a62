"""Weighs whether text is mojibake: that it can be decoded again as UTF-8 proves nothing yet.

`√π` and `Å²` happen to be UTF-8, too. So both readings of every such sequence are judged where it
stands. It speaks for a repair if the repaired sign fits there and nobody writes the signs side by
side; it speaks against one if they are ordinary as they stand and the repaired sign does not fit.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

_ANYWHERE = (
    range(0xA0, 0x100),  # Latin-1: in text from PDF files its letters also stand for other signs
    range(0x2B0, 0x400),  # accents and Greek
    range(0x2000, 0x2C00),  # punctuation, mathematics, arrows
    range(0x3000, 0x3040),  # punctuation of Chinese and Japanese
    range(0xE000, 0xF900),  # private use: bullets and signs of the fonts in PDF files
    range(0xFB00, 0xFB07),  # ligatures
    range(0xFF00, 0xFFFE),  # full width
    range(0x1D400, 0x1D800),  # letters of mathematics
    range(0x1F000, 0x20000),  # emoji
)
"""Signs that fit everywhere; those of all other scripts stand in words."""

_LATIN = (range(0x100, 0x2B0), range(0x1E00, 0x1F00))

_CONTEXT = 24
"""Characters on either side in which a word is looked for."""

_LETTERS_BEFORE, _LETTERS_AFTER = re.compile(r"[^\W\d_]*$"), re.compile(r"[^\W\d_]*")

_CLOSING = "’”»›…–—™®©°ªº¹²³·†‡\xa0"
"""Signs that stand directly behind a word, a name or a unit."""

_OPERANDS = "πΩµ∂∑∏∫∞"
_QUANTITIES = _OPERANDS + "±≤≥≠°ß£¥¢§"
"""What Mac Roman has to stand directly behind an operator."""

_ORDINARY_SIGNS = re.compile(
    rf"""(?:(?<=[A-ZÀ-Þ]{{2}})[ÁÃ-ËÏ-ÔÖ-Þ]|(?<=[A-ZÀ-Þ])[ÀÌÍÕ])[{_CLOSING}]  # capitals: NESTLÉ®
    | (?<=[a-z])(?!â†’)[ß-ï][{_CLOSING}]{{2}}(?![^\W\d_])    # a word with two signs: Pelé’”
    | Å[²³] | (?<![^\W\d_])Å[{_CLOSING}]                 # a unit
    | [«»…∆\xa0].                                        # before any word or number
    | (?<![\w)\]])¬[{_OPERANDS}≤≥≠](?!(?<=∞)[CFK]|(?<=µ)[A-Za-z])  # a negation, unlike m¬≤
    | (?P<operator>[√≈ƒ][{_QUANTITIES}])
    """,
    re.VERBOSE,
)
"""Signs that people write side by side."""

_FUNCTIONS = {"sin", "cos", "tan", "cot", "exp", "log", "erf", "lim", "max", "min", "det", "var"}


def is_mojibake(text: str, repaired: str) -> bool:
    """Whether `text`, which decodes to `repaired`, is damaged rather than meant as it stands.

    Repeating a sequence adds nothing to what it says.
    """
    speaking_for, against = set(), set()
    for place in _places(text, repaired):
        fits, ordinary = place.sign_fits(), place.signs_are_ordinary()
        if fits and not ordinary:
            speaking_for.add(place.sign)
        elif ordinary and not fits:
            against.add(place.sign)
    return len(speaking_for) > len(against)


@dataclass(frozen=True, slots=True)
class _Place:
    """A sign of the repaired text, `position` there, and its two to four signs at `start`."""

    text: str
    start: int
    repaired: str
    position: int

    @property
    def sign(self) -> str:
        return self.repaired[self.position]

    def signs_are_ordinary(self) -> bool:
        """Whether people write these signs side by side where they stand."""
        found = _ORDINARY_SIGNS.match(self.text, self.start)
        if found is None:
            return False
        return found["operator"] is None or not self._is_inside_a_word()

    def sign_fits(self) -> bool:
        """Whether the repaired sign is one that a text has at this place."""
        code = ord(self.sign)
        if any(code in signs for signs in _ANYWHERE):
            return True
        if any(code in letters for letters in _LATIN):
            return self._has_fitting_case()
        return self._has_neighbour_of_its_script()

    def _word(self) -> tuple[str, str]:
        """The letters directly before and after the sign."""
        before = self.repaired[max(self.position - _CONTEXT, 0) : self.position]
        after = self.repaired[self.position + 1 : self.position + _CONTEXT]
        found = _LETTERS_BEFORE.search(before), _LETTERS_AFTER.match(after)
        return (found[0] or [""])[0], (found[1] or [""])[0]

    def _has_fitting_case(self) -> bool:
        before, after = self._word()
        if self.sign.isupper():
            return before[-1:].isupper() or (not before and bool(after))
        return before[-1:].islower() or after[:1].islower()

    def _is_inside_a_word(self) -> bool:
        """Whether the sign makes a word of the letters around, unlike in `sin√π` and `2√πkT`."""
        before, after = self._word()
        if not self.sign.isalpha():
            return self.repaired[self.position - 2 : self.position].strip().isdigit()
        if before in _FUNCTIONS or after[:3] in _FUNCTIONS:
            return False
        name = before.istitle() and len(before) > 1
        return name or (bool(before) and after.islower() and len(before + after) > 2)

    def _has_neighbour_of_its_script(self) -> bool:
        before = self.repaired[max(self.position - 1, 0) : self.position]
        around = before + self.repaired[self.position + 1 : self.position + 2]
        return any(_script(self.sign) == _script(sign) for sign in around)


def _script(sign: str) -> str:
    """The first word of a sign's Unicode name, as in CYRILLIC SMALL LETTER A."""
    return unicodedata.name(sign, sign).partition(" ")[0]


def _places(text: str, repaired: str) -> Iterator[_Place]:
    surplus = 0
    for found in re.finditer(r"[^\x00-\x7f]", repaired):
        yield _Place(text, found.start() + surplus, repaired, found.start())
        surplus += len(found[0].encode()) - 1
