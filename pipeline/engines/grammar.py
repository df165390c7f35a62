"""The answer's format and word limit as a regular expression for the decoder.

    Answer:::
    at most N words
    Answer:::

A word is what `str.split` makes of it: a run of characters that are not white space, of which
Unicode has more than a decoder's `\\s`. No two colons stand side by side within it, so that nothing
in an answer is taken for a marker. A word ends after 80 characters or somewhat more, and the white
space between two words after four: a model in a loop comes to an end, and every answer with it.
"""

from pipeline.core.records import ANSWER_MARKER

BACKEND = "guidance"
"""vLLM's backend for it. A counted expression takes llguidance below 2 ms a token at a vocabulary
of 128,000; xgrammar, which `auto` would choose, takes some hundreds (`make bench`)."""

_SPACE = r"\s\x1c-\x1f\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_WORD = rf"(?::?[^:{_SPACE}]){{1,80}}:?"
_BETWEEN = r"[ \n]{1,4}"


def answer_regex(max_words: int) -> str:
    """What a completion under `answer.decoding: enforced` matches from its first sign to its last.

    Written for Rust's and Python's engines alike.
    """
    words = rf"{_WORD}(?:{_BETWEEN}{_WORD}){{0,{max_words - 1}}}"
    return f"{ANSWER_MARKER}\n{words}\n{ANSWER_MARKER}"
