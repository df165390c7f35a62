"""Quotations in a text: what stands between a pair of marks."""

import re
from collections.abc import Iterator
from typing import NamedTuple

_PAIRS = (
    r"“([^“”\n]+(?:\n[^“”\n]+)*)[”\"]",
    r"„([^„“”\n]+)[“”]",
    r"«\s?([^«»\n]+?)\s?»",
    r"‘(?=\w)((?:[^‘’\n]|’(?=\w)){1,600})’(?!\w)",
    r"(?<![\w\"“”])\"(?=\S)([^\"\n]+(?:\n[^\"\n]+)*)(?<=\S)\"(?!\w)",
    r"(?<![\w'’])'(?=\w)((?:[^'\n]|'(?=\w)){1,600})(?<=\S)'(?!\w)",
    r"(?<!`)`([^`\n]+)`(?!`)",
    r"``([^`\n]+?)(?:''|``)",
    r"「([^「」\n]+)」",
)
_QUOTATION = re.compile("|".join(_PAIRS))
_MARKS = re.compile(r"[“„«‘\"`「]|(?<!\w)'\w")


class Quotation(NamedTuple):
    """What stands between two marks; the offsets leave the marks out."""

    text: str
    start: int
    end: int


def quotations_of(text: str) -> Iterator[Quotation]:
    """The quotations of a text; those within another are passed over."""
    if not _MARKS.search(text):
        return
    for found in _QUOTATION.finditer(text):
        group = found.lastindex or 0
        yield Quotation(found[group], found.start(group), found.end(group))
