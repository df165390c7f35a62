"""Tells a mark of a format from the same characters in ordinary text, which speaks of them."""

import re
from bisect import bisect_right

LINE_CHARACTERS = 1000
"""How much of a mark's line is looked at, on either side."""

CODE_INDENT = 4
"""Spaces that make a line code in Markdown."""

_FENCE = re.compile(r"(?m)^[ \t]*(```+|~~~+)([^\n`]*)$")
_QUOTES = {'"': '"', "'": "'", "“": "”", "‘": "’", "«": "»", "‹": "›", "„": "“", "「": "」"}
_SENTENCE_END = re.compile(
    r"(?:[^\W\d_]|[\"'”’»)\]*`}])[.!?…]+[\"'”’»)\]*_]*$|[。！？।][”』」）]*$"
)
_GOES_ON = re.compile(  # on the same line, as a sentence or a row of a table does
    r"[ \t]*(?:[,;:!?)\]”’»]|\.(?:\s|$))|[ \t]+\|"
    r"|[ \t]+(?:is|are|was|were|and|or|tags?|tokens?|marks?|markers?|blocks?|elements?|sections?"
    r"|opens?|begins?|starts?|closes?|ends?|means?|denotes?|stands?)\b"
)


def code_blocks(text: str) -> list[tuple[int, int]]:
    """Where a text's fenced blocks of code begin and end; one that stays open is none.

    A fence that names a language begins a block, even where an earlier one has been left open.
    """
    blocks: list[tuple[int, int]] = []
    start, opening = 0, ""
    for line in _FENCE.finditer(text) if "```" in text or "~~~" in text else ():
        fence, language = line[1], line[2].strip()
        if not opening or (language and fence[0] == opening[0]):
            start, opening = line.start(), fence
        elif fence.startswith(opening) and not language:
            blocks.append((start, line.end()))
            opening = ""
    return blocks


def is_within(blocks: list[tuple[int, int]], place: int) -> bool:
    """Whether a place is in one of some blocks, which are in order."""
    at = bisect_right(blocks, (place, place + 1)) - 1
    return at >= 0 and place < blocks[at][1]


def is_code(text: str, start: int, end: int) -> bool:
    """Whether characters stand in a span of code or in an indented line."""
    before, after = _line(text, start, end)
    if before and not before.strip():
        return len(before.expandtabs(4)) >= CODE_INDENT
    return before.count("`") % 2 == 1 and ("`" in after or _is_cut(text, end))


def is_quoted(text: str, start: int, end: int) -> bool:
    """Whether characters stand in quotation marks, alone or as the first or last of a quotation."""
    before, after = _line(text, start, end)
    sign, closing = before[-1:], _QUOTES.get(before[-1:])
    if closing and sign != '"' and (after.startswith(closing) or _is_cut(text, end)):
        return True
    if '"' not in (sign, after[:1]) or before.count('"') % 2 == 0:
        return False
    return '"' in after or _is_cut(text, end)


def _is_cut(text: str, end: int) -> bool:
    """Whether a text ends here, so that the rest of what it quotes may be missing."""
    return not text[end : end + LINE_CHARACTERS].strip()


def is_inline(text: str, start: int) -> bool:
    """Whether words stand before a mark on its line."""
    return bool(_line(text, start, start)[0].strip())


def is_named(text: str, start: int, end: int) -> bool:
    """Whether a mark is a word of the sentence around it, as in "behind </think> it answers"."""
    before, after = _line(text, start, end)
    if _GOES_ON.match(after):
        return True
    said = text[max(0, start - LINE_CHARACTERS) : start].rstrip()
    if not said or ends_sentence(said):
        return False
    if not before.strip():
        return after[:1].isspace() and after.strip()[:1].islower()
    if _is_caseless(said[-1]) and _is_caseless(after.strip()[:1]):
        return True
    if not before[-1].isspace():
        return before[-1] in "([{«“/|"
    if not after.strip():
        return not text[end : end + LINE_CHARACTERS].strip()
    return after[0].isspace() and after.strip()[0].islower()


def ends_sentence(text: str) -> bool:
    """Whether a text that nothing but white space follows may end here."""
    return bool(_SENTENCE_END.search(text.rstrip()[-8:]))


def _line(text: str, start: int, end: int) -> tuple[str, str]:
    """What stands before and behind a piece of a text on its line."""
    first = text.rfind("\n", max(0, start - LINE_CHARACTERS), start) + 1
    last = text.find("\n", end, end + LINE_CHARACTERS)
    before = text[max(first, start - LINE_CHARACTERS) : start]
    return before, text[end : last if last >= 0 else end + LINE_CHARACTERS]


def _is_caseless(letter: str) -> bool:
    """Whether a letter is of a script without capitals, which mostly needs no spaces."""
    return letter.isalpha() and letter.lower() == letter.upper()
