"""Numbers in English words: `twenty-five`, `two hundred`, `a dozen`, `threefold`, `two thirds`."""

import re
from collections.abc import Iterator

_ONES = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_ORDINALS = [
    "first",
    "second",
    "third",
    "fourth",
    "fifth",
    "sixth",
    "seventh",
    "eighth",
    "ninth",
    "tenth",
]
_OTHERS = {
    "single": 1, "once": 1, "both": 2, "pair": 2, "twice": 2, "double": 2, "binary": 2, "dual": 2,
    "couple": 2, "triple": 3, "thrice": 3, "dozen": 12, "annual": 1, "decade": 10,
}  # fmt: skip
_VALUES = {
    **{word: value for value, word in enumerate(_ONES)},
    **{word: 10 * tens for tens, word in enumerate(_TENS, 2)},
    **{word: value for value, word in enumerate(_ORDINALS, 1)},
    **_OTHERS,
}
SCALES = {
    "hundred": 2, "thousand": 3, "k": 3, "million": 6, "m": 6, "billion": 9, "b": 9, "trillion": 12
}  # fmt: skip
"""Words that multiply the number before them, as powers of ten."""

_SHARES = {"half": (1, 2), "halves": (1, 2), "third": (1, 3), "quarter": (1, 4), "fifth": (1, 5),
           "tenth": (1, 10)}  # fmt: skip
"""Parts of a whole; `two thirds` is two of them."""

_WORD = "|".join(sorted(_VALUES, key=len, reverse=True))
_RUN = re.compile(
    rf"\b(?:{_WORD})(?:(?:[\s-]|\sand\s)+(?:{_WORD}|hundred|thousand|million|billion))*(?=s?\b|fold)"
    r"|\b(?:a\s)?(?:hundred|thousand|million|billion)\b"
)
_SHARE = re.compile(rf"(?:\b({_WORD})[\s-])?\b(half|halves|third|quarter|fifth|tenth)s?\b")


def numbers_in_words(text: str) -> Iterator[int]:
    """Every number in words of a text in lower case; also the single words of a longer run."""
    for run in _RUN.finditer(text):
        words = [word for word in re.split(r"[\s-]+", run[0]) if word not in ("and", "a")]
        yield _value(words)
        if len(words) > 1:
            yield from (_VALUES[word] for word in words if word in _VALUES)


def shares_in_words(text: str) -> Iterator[float]:
    """Every part of a whole in words, from 0 to 1."""
    for times, share in _SHARE.findall(text):
        part, whole = _SHARES[share]
        yield part * _VALUES.get(times, 1) / whole


def _value(words: list[str]) -> int:
    total = part = 0
    for word in words:
        if word == "hundred":
            part = max(part, 1) * 100
        elif word in SCALES:
            total, part = total + max(part, 1) * 10 ** SCALES[word], 0
        else:
            part += _VALUES[word]
    return total + part
