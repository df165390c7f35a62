"""Text as it is compared, sorted and shown."""

import re
from collections.abc import Callable, Iterator, Sequence

import Stemmer

_STOP_WORDS = (
    "a an and are as at be but by for if in into is it no not of on or such that the their then "
    "there these they this to was will with"
)
STOP_WORDS = frozenset(_STOP_WORDS.split())
"""English words that carry no content: the classic list of Lucene's analyzers."""

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_NUMBERS = re.compile(r"([0-9]+)")
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff]"
)
_stem: Callable[[Sequence[str]], Iterator[str]] = Stemmer.Stemmer("english").stemWords


def words_of(text: str) -> list[str]:
    """Runs of letters, in lower case and in their order."""
    return _WORD.findall(text.lower())


def content_words(text: str) -> frozenset[str]:
    """Stems of the words that are no stop words, by Porter's second stemmer for English."""
    return frozenset(_stem([word for word in words_of(text) if word not in STOP_WORDS]))


def natural(name: str) -> tuple[list[str], str]:
    """A sort key: `Q2` before `Q10`, upper beside lower case; numbers may be of any length."""
    parts = _NUMBERS.split(name.casefold())
    numbers = (digits.lstrip("0") for digits in parts[1::2])
    parts[1::2] = [f"{len(digits):05}{digits}" for digits in numbers]
    return parts, name


def plural(count: int, noun: str, nouns: str = "") -> str:
    """`1 record`, `2,000 records`; `nouns` where the plural is not made with an s."""
    return f"{count:,} {noun if count == 1 else nouns or noun + 's'}"


def harmless(text: str) -> str:
    """Text for a terminal: characters that move the cursor, set colours or turn the direction of
    writing become `\\x` and their number, so that papers and models cannot steer it.
    """
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def visible(text: str) -> str:
    """Text for a page: control characters and those that turn the direction of writing become
    signs that can be seen.
    """
    return _INVISIBLE.sub(_sign_for, text)


def _sign_for(character: re.Match[str]) -> str:
    code = ord(character[0])
    return chr(0x2400 + code) if code < 0x20 else f"⟨U+{code:04X}⟩"
