"""Functions on text: to compare, to sort and to show it."""

import re
from collections.abc import Callable, Iterator, Sequence

import Stemmer

_STOP_WORDS = (
    "a an and are as at be but by for if in into is it no not of on or such that the their then "
    "there these they this to was will with"
)
STOP_WORDS = frozenset(_STOP_WORDS.split())
"""English words without content of their own: the default list of Lucene's analyzers."""

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_NUMBERS = re.compile(r"([0-9]+)")
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff]"
)
_stem: Callable[[Sequence[str]], Iterator[str]] = Stemmer.Stemmer("english").stemWords


def words_of(text: str) -> list[str]:
    """All runs of letters, in lower case and in order."""
    return _WORD.findall(text.lower())


def content_words(text: str) -> frozenset[str]:
    """Stems of all words but stop words, by Porter's second English stemmer (Snowball)."""
    return frozenset(_stem([word for word in words_of(text) if word not in STOP_WORDS]))


def natural(name: str) -> tuple[list[str], str]:
    """A sort key: `Q2` before `Q10`, upper case next to lower case, numbers of any length."""
    parts = _NUMBERS.split(name.casefold())
    numbers = (digits.lstrip("0") for digits in parts[1::2])
    parts[1::2] = [f"{len(digits):05}{digits}" for digits in numbers]
    return parts, name


QUOTED_CHARACTERS = 200


def quote(text: str) -> str:
    """A piece of a text as evidence, on one line and shortened to a readable length."""
    line = " ".join(text.split())
    return line if len(line) <= QUOTED_CHARACTERS else line[: QUOTED_CHARACTERS - 1] + "…"


def plural(count: int, noun: str, nouns: str = "") -> str:
    """`1 record`, `2,000 records`; `nouns` is the plural if it is not `noun` with an s."""
    return f"{count:,} {noun if count == 1 else nouns or noun + 's'}"


def rough_duration(seconds: float) -> str:
    """`40 s`, `12 min`, `3.5 h`: in a unit no finer than an estimate is."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 100 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:,.1f} h"


def money(amount: float) -> str:
    """`1,204.50`, `50`, `0.0042`: two decimals where there are any, two digits of a small one."""
    if 0 < abs(amount) < 0.1:
        return f"{amount:.2g}"
    return f"{amount:,.2f}".removesuffix(".00")


def harmless(text: str) -> str:
    """Text that cannot control a terminal: what is not printable becomes `\\x` and its code."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def visible(text: str) -> str:
    """Text for a page, with visible symbols for control characters and direction marks."""
    return _INVISIBLE.sub(_symbol_for, text)


def is_visible(text: str) -> bool:
    """Whether `visible` leaves a text as it is."""
    return not _INVISIBLE.search(text)


def _symbol_for(character: re.Match[str]) -> str:
    code = ord(character[0])
    return chr(0x2400 + code) if code < 0x20 else f"⟨U+{code:04X}⟩"
