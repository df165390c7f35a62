"""The answer's format and word limit as a regular expression for the decoder.

    Answer:::
    at most N words
    Answer:::

A model may end its turn without the closing marker, and `closed` then adds it. A model that does
not know the marker would else go on to the word limit, when it has long said what it had to say.

No completion that it matches has more words than `count_words` counts. A word is a run of
characters without white space as `str.split` defines it, which includes more of Unicode than a
decoder's `\\s`. In a script without spaces every letter is a word, with the punctuation behind it,
and a space stands between it and a word of another script. So the limit comes a little early there:
a run of Katakana, one word for the check, is as many as it has letters.

A word has no two adjacent colons, so that no part of an answer reads as a marker. Words are limited
to some 80 characters and the white space between them to four, so that a model in a loop still ends
its answer.
"""

from dataclasses import replace
from functools import cache

from pipeline.core.records import ANSWER_MARKER, Completion
from pipeline.core.words import unspaced_ranges

CLOSING = f"\n{ANSWER_MARKER}"

BACKEND = "guidance"
"""vLLM's grammar backend. With a counted repetition llguidance takes less than 2 ms a token at a
vocabulary of 128,000; xgrammar, which `auto` would choose, takes hundreds (`make bench`)."""

_SPACE = r"\s\x1c-\x1f\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_COLON = r":\uff1a\ufe55\u2236"
_BETWEEN = r"[ \n]{1,4}"
_SIGN = (
    r"[!-/;-@\[-`{-~\xa1-\xa9\xab-\xb1\xb4\xb6-\xb8\xbb\xbf\u0300-\u036f\u200c\u200d\u2010-\u2027\u2030-\u205e"
    r"\u3001-\u3004\u3008-\u3020\u3099\u309a\ufe00-\ufe0f\uff01-\uff0f\uff1b-\uff20\uff3b-\uff40"
    r"\uff5b-\uff65]"
)
"""Punctuation and marks that may follow a letter of a script without spaces."""


def answer_regex(max_words: int) -> str:
    """Matches a whole completion if decoding is enforced; valid in Rust's and Python's syntax."""
    unspaced = _unspaced()
    word = rf"(?:[{_COLON}]?[^{_COLON}{_SPACE}{unspaced}]){{1,80}}[{_COLON}]?"
    letter = rf"[{unspaced}](?:[{_COLON}]?{_SIGN}){{0,8}}[{_COLON}]?"
    following = rf"(?:{_BETWEEN}{word}|(?:{_BETWEEN})?{letter})"
    words = rf"(?:{word}|{letter}){following}{{0,{max_words - 1}}}"
    return f"{ANSWER_MARKER}\n{words}({CLOSING})?"


def closed(completion: Completion) -> Completion:
    """The completion with its frame closed, if the model has opened it and then ended its turn."""
    content, split = completion.content, completion.split
    is_open = content.startswith(ANSWER_MARKER) and content.count(ANSWER_MARKER) == 1
    if completion.finish_reason != "stop" or not is_open:
        return completion
    split = split and split._replace(content=f"{content}{CLOSING}")
    return replace(completion, text=f"{completion.text}{CLOSING}", split=split)


@cache
def _unspaced() -> str:
    """All letters of scripts without spaces, as a part of a character class."""
    return "".join(rf"\U{first:08x}-\U{last:08x}" for first, last in unspaced_ranges())
