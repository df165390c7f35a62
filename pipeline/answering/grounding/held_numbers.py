"""The numbers that a prompt holds, however a PDF has broken them.

Each property is worked out when it is first asked for, the cheapest first: nearly all numbers of an
answer stand in its prompt as they are.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from pipeline.answering.grounding.number_words import numbers_in_words, shares_in_words
from pipeline.answering.grounding.numerals import (
    PERCENT,
    Numeral,
    keys_of,
    numerals_in,
    value_of,
    with_plain_powers,
)

_DIGITS = re.compile(r"\d+(?:[.,]\d+)*")
_MINUS_GLYPH = re.compile(r"\s*\(cid:0\)\s*")
_GLYPH = re.compile(r"\(cid:\d+\)")
_BROKEN_WORD = re.compile(r"(?<=\w)[-\u00ad]\s*\n\s*(?=\w)")
_BROKEN_POINT = re.compile(r"(?<!\d)\d+(?:\s*[.,·]\s*\d+)+")
_BROKEN_DIGITS = re.compile(r"(?<!\d)\d+(?:\s+\d+)+")
_POWER = re.compile(r"(?<![\d.])10\s*(?:\^|\*\*)?\s*([-−–]?)\s*(\d{1,2})(?!\d)")
_RATIO = re.compile(r"(?<![\d.])\d{1,3}(?:\s?[:/]\s?\d{1,3}){1,3}(?!\d)")

LONG_ENOUGH = 5
"""Characters of a number that is taken for the prompt's where it stands inside a run of digits,
as the cells of a table that has lost its spaces; a decimal fraction needs one less."""


@dataclass(frozen=True)
class HeldNumbers:
    """The numbers of a text, by the keys of `numerals`."""

    text: str

    def has_all_of(self, answer: str) -> bool:
        """Whether every run of digits of an answer stands in the text as it is."""
        return self.plain.issuperset(_DIGITS.findall(answer))

    def has(self, numeral: Numeral) -> bool:
        """Whether the text holds a number, in one way to write it or another."""
        return (
            not numeral.keys.isdisjoint(self.keys)
            or not numeral.keys.isdisjoint(self.words)
            or self._has_within_digits(numeral.text)
            or self._has_apart(numeral)
        )

    def within(self, low: float, high: float) -> bool:
        """Whether the text holds a number from `low` to `high`."""
        at = bisect_left(self.values, low)
        return at < len(self.values) and self.values[at] <= high

    def begins(self, digits: str) -> bool:
        """Whether a number of the text begins with these digits."""
        return any(key.startswith(digits) for key in self.plain)

    @cached_property
    def plain(self) -> frozenset[str]:
        """Runs of digits as they stand."""
        return frozenset(_DIGITS.findall(self.text))

    @cached_property
    def keys(self) -> frozenset[str]:
        """Every key of every number in digits."""
        return frozenset(self._keys())

    @cached_property
    def words(self) -> frozenset[str]:
        """The keys of numbers in words."""
        return frozenset(map(str, numbers_in_words(self._joined.lower())))

    @cached_property
    def shares(self) -> tuple[float, ...]:
        """Shares of a whole, 0 to 1: `two thirds`, and the parts of a ratio such as 8:2."""
        shares = list(shares_in_words(self._joined.lower()))
        for ratio in _RATIO.findall(self.text):
            parts = [int(part) for part in re.split(r"\D+", ratio)]
            if total := sum(parts):
                shares += [part / total for part in parts]
        return tuple(shares)

    @cached_property
    def percents(self) -> tuple[float, ...]:
        """The numbers that a percent sign or word follows."""
        found = (m for m in numerals_in(self.text) if PERCENT.match(self.text, m.end))
        return tuple(v for m in found for key in m.keys if (v := value_of(key)) is not None)

    @cached_property
    def values(self) -> list[float]:
        """All in digits as floats, sorted."""
        found = (value_of(key) for key in self.keys)
        return sorted(value for value in found if value is not None)

    @cached_property
    def _joined(self) -> str:
        """The text without what a PDF leaves in it: codes of glyphs, and broken words."""
        text = self.text
        if "(cid:" in text:
            text = _GLYPH.sub("", _MINUS_GLYPH.sub("-", text))
        return with_plain_powers(_BROKEN_WORD.sub("", text))

    @cached_property
    def _squeezed(self) -> str:
        return "".join(self._joined.split())

    def _has_within_digits(self, digits: str) -> bool:
        return len(digits) >= LONG_ENOUGH - ("." in digits) and digits in self._squeezed

    def _has_apart(self, numeral: Numeral) -> bool:
        """Whether the text has mantissa and exponent, though not next to each other."""
        return bool(numeral.parts) and numeral.parts <= self.keys

    def _keys(self) -> Iterator[str]:
        for digits in self.plain:
            yield from keys_of(digits)
            if "," in digits:
                yield from (key for part in digits.split(",") for key in keys_of(part))
            elif digits.count(".") > 1:
                version = digits.split(".")
                yield from (".".join(version[:n]) for n in range(1, len(version)))
        for numeral in numerals_in(self._joined):
            yield from numeral.keys
        for broken in _BROKEN_POINT.findall(self._joined):
            yield from keys_of("".join(broken.split()).replace("·", "."))
        for run in _BROKEN_DIGITS.findall(self._joined):
            parts = run.split()
            yield from ("".join(pair) for pair in pairwise(parts))
        for sign, power in _POWER.findall(self._joined):
            yield _power_of_ten(int(power), bool(sign))


def _power_of_ten(power: int, is_negative: bool) -> str:
    return f"0.{'1'.rjust(power, '0')}" if is_negative and power else f"1{'0' * power}"
