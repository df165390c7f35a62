"""At most N words as a regular expression for a decoder.

No text that it matches has more words than `count_words` counts. A word is a run of characters
without white space as `str.split` defines it, which includes more of Unicode than a decoder's
`\\s`. In a script without spaces every letter is a word, with the punctuation behind it,
and a space stands between it and a word of another script. So the limit comes a little early there:
a run of Katakana, one word for the check, is as many as it has letters.

A word has no two adjacent colons, so that no part of an answer reads as a marker. Words are limited
to some 80 characters and the white space between them to four, so that a model in a loop still ends
its answer.
"""

import re
from functools import cache

from pipeline.core.words import unspaced_ranges

_SPACE = r"\s\x1c-\x1f\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_COLON = r":\uff1a\ufe55\u2236"
_BETWEEN = r"[ \n]{1,4}"
_SIGN = (
    r"[!-/;-@\[-`{-~\xa1-\xa9\xab-\xb1\xb4\xb6-\xb8\xbb\xbf\u0300-\u036f\u200c\u200d\u2010-\u2027\u2030-\u205e"
    r"\u3001-\u3004\u3008-\u3020\u3099\u309a\ufe00-\ufe0f\uff01-\uff0f\uff1b-\uff20\uff3b-\uff40"
    r"\uff5b-\uff65]"
)
"""Punctuation and marks that may follow a letter of a script without spaces."""


def words_regex(max_words: int, no_line_begins_with: str = "") -> str:
    """Matches a whole answer; valid in Rust's and Python's syntax.

    A line may be kept from beginning with a sign, or with a letter of a script with spaces, so that
    none of them reads as a marker that begins so.
    """
    unspaced, first = _unspaced(), re.escape(no_line_begins_with)
    word = rf"(?:[{_COLON}]?[^{_COLON}{_SPACE}{unspaced}]){{1,80}}[{_COLON}]?"
    letter = rf"[{unspaced}](?:[{_COLON}]?{_SIGN}){{0,8}}[{_COLON}]?"
    opening, following = word, rf"{_BETWEEN}{word}"
    if first:
        kept = rf"[^{first}{_COLON}{_SPACE}{unspaced}]"
        opening = rf"{kept}(?:[{_COLON}]?[^{_COLON}{_SPACE}{unspaced}]){{0,79}}[{_COLON}]?"
        following = rf"(?: {{1,4}}{word}|{_BETWEEN}{opening})"
    words = rf"(?:{following}|(?:{_BETWEEN})?{letter})"
    return rf"(?:{opening}|{letter}){words}{{0,{max_words - 1}}}"


@cache
def _unspaced() -> str:
    """All letters of scripts without spaces, as a part of a character class."""
    return "".join(rf"\U{first:08x}-\U{last:08x}" for first, last in unspaced_ranges())
