"""Whether a number follows from others: rounded, as a share, or by arithmetic within the answer."""

import re
from collections.abc import Iterator, Sequence
from itertools import accumulate, combinations, permutations

from pipeline.answering.grounding.held_numbers import HeldNumbers
from pipeline.answering.grounding.number_words import numbers_in_words
from pipeline.answering.grounding.numerals import PERCENT, Numeral, decimals_of, value_of

_ABOUT = re.compile(
    r"(?i)(?:about|around|approximately|approx\.?|roughly|nearly|almost|over|under|above|below"
    r"|more than|less than|at least|up to|some|circa|ca\.|close to|slightly \w+|[~≈±><≥≤])\W*$"
)
FEWEST = 10
"""A smaller whole number is what some two numbers give in nearly every answer."""

_YEAR = re.compile(r"(?:1[89]|20)\d\d")
_EACH = re.compile(r"\b(?:each|per|both|respectively)\b")
NEAR = 300
"""Characters before and behind a number in which others are beside it."""

MOST_NUMBERS = 10
"""So many numbers beside one are combined at most."""

_ONE_PERCENT_POINT = 0.006  # as a share of 1
_TINY = 1e-9


def is_derived(numeral: Numeral, answer: str, known: Sequence[Numeral], held: HeldNumbers) -> bool:
    """Whether a number of an answer follows from the prompt's, or from the known ones beside it."""
    is_percent = bool(PERCENT.match(answer, numeral.end))
    is_about = bool(_ABOUT.search(answer[max(0, numeral.start - 20) : numeral.start]))
    others = [] if _YEAR.fullmatch(numeral.text) else _beside(numeral, answer, known)
    for key in numeral.keys:
        value = value_of(key)
        if value is not None and (
            _is_rounded(key, value, is_about, is_percent, held)
            or _is_share(value, is_percent, held)
            or _is_computed(key, value, is_percent, others)
        ):
            return True
    return False


def _is_rounded(
    key: str, value: float, is_about: bool, is_percent: bool, held: HeldNumbers
) -> bool:
    """Whether the prompt has the number with more digits.

    Zeros at the end count as rounded only where the answer says *about*, or the like.
    """
    zeros = len(key) - len(key.rstrip("0"))
    if decimals_of(key):
        unit = 10.0 ** -decimals_of(key)
    elif is_about:
        unit = 10.0**zeros
    elif is_percent:
        unit = 1.0
    else:
        return False
    return held.within(value - unit / 2, value + unit * (1 - _TINY))


def _is_share(value: float, is_percent: bool, held: HeldNumbers) -> bool:
    """Whether the prompt has a percentage as a ratio or a part, or a ratio as a percentage."""
    if is_percent:
        share = value / 100
        return held.within(share - _TINY, share + _TINY) or any(
            abs(one - share) < _ONE_PERCENT_POINT for one in held.shares
        )
    return 0 < value < 1 and any(abs(one - 100 * value) < _TINY for one in held.percents)


def _is_computed(key: str, value: float, is_percent: bool, others: Sequence[float]) -> bool:
    """Whether numbers beside it give this one: one of them, a run of them, or any two."""
    unit = 10.0 ** -decimals_of(key)
    slack = 0.51 * unit if unit < 1 or is_percent else _TINY
    return (
        any(abs(result - value) < _TINY for one in others for result in _of_one(one, is_percent))
        or any(abs(total - value) < unit / 10 for total in _sums(others))
        or any(
            any(abs(result - value) < _TINY for result in (a - b, a * b, a * b / 100, a * b + a))
            or any(abs(result - value) < slack for result in _quotients(a, b, is_percent))
            for a, b in permutations(others, 2)
            if value >= FEWEST or unit < 1
        )
    )


def _of_one(other: float, is_percent: bool) -> Iterator[float]:
    """What one number gives: the rest of a whole, and the same as a percentage or a ratio."""
    yield from (100 - other, 100 * other) if is_percent else (other / 100, 1 - other)


def _sums(numbers: Sequence[float]) -> Iterator[float]:
    """The sums of all runs of two and more numbers, and of any two."""
    for at in range(len(numbers)):
        yield from list(accumulate(numbers[at:]))[1:]
    yield from (a + b for a, b in combinations(numbers, 2))


def _quotients(a: float, b: float, is_percent: bool) -> Iterator[float]:
    if b:
        yield a / b
    if is_percent:
        yield from (100 * a / whole for whole in (b, a + b) if whole)


def _beside(numeral: Numeral, answer: str, known: Sequence[Numeral]) -> list[float]:
    """The known numbers nearest to one, in digits or words, in order and in their first reading."""
    low, high = max(0, numeral.start - NEAR), numeral.end + NEAR
    near = [other for other in known if low <= other.start <= high]
    near = sorted(near, key=lambda other: abs(other.start - numeral.start))[:MOST_NUMBERS]
    found = [value_of(min(n.keys, key=len)) for n in sorted(near, key=lambda other: other.start)]
    words = {float(word) for word in numbers_in_words(answer[low:high].lower())} - {0.0, 1.0}
    if _EACH.search(answer, low, high):
        words.add(2.0)
    if "fold" in answer[low:high]:
        words |= {value - 1 for value in found if value}  # all folds but the one left out
    return [value for value in found if value] + sorted(words)
