"""Text as names are compared in it: without accents, case, ligatures, and what a PDF leaves."""

import re
import unicodedata

_BROKEN_WORD = re.compile(r"(?<=\w)[-\u00ad]\s*\n\s*(?=\w)")
_GLYPH = re.compile(r"\(cid:\d+\)")
_ACCENT = re.compile(r"\s?[´`¨˜ˇ¸ˆ˘˚¯]\s?")
_COMBINING = re.compile("[\u0300-\u036f]")
_SPACING = re.compile(r"\s+")
_LETTERS = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ð": "d", "ı": "i", "ß": "ss", "æ": "ae",
                          "œ": "oe", "’": "'", "‐": "-", "‑": "-", "–": "-", "−": "-"})  # fmt: skip


def folded(text: str) -> str:
    """Lower case, plain letters and single spaces; words that a line end has broken are whole."""
    text = _BROKEN_WORD.sub("", text)
    if "(cid:" in text:
        text = _GLYPH.sub("", text)
    if not text.isascii():
        text = _ACCENT.sub("", text)
        text = _COMBINING.sub("", unicodedata.normalize("NFKD", text))
    return _SPACING.sub(" ", text.lower().translate(_LETTERS))
