"""The answer's format and word limit as a regular expression for the decoder.

    Answer:::
    at most N words
    Answer:::

A word is a run of characters without white space as `str.split` defines it, which includes more
of Unicode than a decoder's `\\s`. A word has no two adjacent colons, so that no part of an answer
reads as a marker. Words are limited to some 80 characters and the white space between them to four,
so that a model in a loop still ends its answer.
"""

from pipeline.core.records import ANSWER_MARKER

BACKEND = "guidance"
"""vLLM's grammar backend. With a counted repetition llguidance takes less than 2 ms a token at a
vocabulary of 128,000; xgrammar, which `auto` would choose, takes hundreds (`make bench`)."""

_SPACE = r"\s\x1c-\x1f\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_WORD = rf"(?::?[^:{_SPACE}]){{1,80}}:?"
_BETWEEN = r"[ \n]{1,4}"


def answer_regex(max_words: int) -> str:
    """Matches a whole completion if decoding is enforced; valid in Rust's and Python's syntax."""
    words = rf"{_WORD}(?:{_BETWEEN}{_WORD}){{0,{max_words - 1}}}"
    return f"{ANSWER_MARKER}\n{words}\n{ANSWER_MARKER}"
