"""Counts words, also in scripts that write no spaces between them.

A word is a run of characters that are not white space. Chinese, Japanese, Thai, Lao, Khmer, Burmese
and some smaller scripts write no spaces; there a word is what lies between two of Unicode's word
boundaries (UAX 29): a Chinese ideograph, a Hiragana, a run of Katakana. Where Unicode leaves
boundaries to a dictionary, as for Thai, there is one around every letter with its marks.
"""

from functools import cache

import regex

_UNSPACED = (
    r"\p{Han}\p{Hiragana}\p{Bopomofo}\p{Yi}\p{Tibetan}"
    r"\p{Word_Break=Katakana}"  # with the length mark and half-width letters
    r"\p{Line_Break=SA}"  # Thai, Lao, Khmer, Burmese and their neighbours
)
_RUN = regex.compile(rf"[{_UNSPACED}][{_UNSPACED}\p{{Word_Break=Extend}}\u200d]*")
_WORD = regex.compile(r"\b\w", regex.WORD)
_FIRST_BYTES = bytes({0xE0, 0xE1, *range(0xE3, 0xEB), 0xEF, *range(0xF0, 0xF5)})
"""Bytes with which letters of these scripts begin in UTF-8. Only the radicals of dictionaries,
which no text is written in, begin as quotation marks do."""
_OTHER_BYTES = bytes(set(range(256)) - set(_FIRST_BYTES))


def count_words(text: str) -> int:
    """How many words `text` has; as many as `str.split` finds, unless its script has no spaces."""
    if has_spaced_words(text):
        return len(text.split())
    return sum(map(_count_in, text.split()))


def has_spaced_words(text: str) -> bool:
    """Whether white space separates all words of `text`."""
    if text.isascii():
        return True
    first_bytes = text.encode(errors="surrogatepass").translate(None, _OTHER_BYTES)
    return not first_bytes or not _RUN.search(text)


def _count_in(token: str) -> int:
    """The words of a run without white space; signs beside an unspaced script are none."""
    others = _RUN.split(token)
    if len(others) == 1:
        return 1
    unspaced = sum(len(_WORD.findall(run)) for run in _RUN.findall(token))
    return unspaced + sum(any(map(str.isalnum, other)) for other in others)


@cache
def unspaced_ranges() -> tuple[tuple[int, int], ...]:
    """First and last code points of all ranges of characters of scripts without spaces."""
    characters = "".join(map(chr, range(0x110000)))
    runs = regex.finditer(f"[{_UNSPACED}]+", characters)
    return tuple((run.start(), run.end() - 1) for run in runs)
