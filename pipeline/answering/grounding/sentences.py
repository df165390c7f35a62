"""Sentences of a text, with their offsets."""

from collections.abc import Iterator
from typing import NamedTuple

import sentencex


class Sentence(NamedTuple):
    """A sentence without the white space around it; offsets are in characters of its text."""

    text: str
    start: int
    end: int


def sentences_of(text: str) -> Iterator[Sentence]:
    """The sentences of a text whose lines are wrapped, such as a passage of a PDF."""
    for found in sentencex.get_sentence_boundaries("en", text):
        if sentence := found["text"].strip():
            start = text.index(sentence, found["start_index"])
            yield Sentence(sentence, start, start + len(sentence))


def sentences_of_answer(answer: str) -> Iterator[Sentence]:
    """The sentences of an answer, in which each line is a paragraph or an item of a list."""
    at = 0
    for line in answer.splitlines(keepends=True):
        for sentence in sentences_of(line):
            yield Sentence(sentence.text, at + sentence.start, at + sentence.end)
        at += len(line)


def sentence_at(answer: str, start: int) -> Sentence:
    """The sentence of an answer that holds an offset; the whole answer where none does."""
    begin = answer.rfind("\n", 0, start) + 1
    line = answer[begin:].partition("\n")[0]
    for sentence in sentences_of(line):
        if begin + sentence.end > start:
            return Sentence(sentence.text, begin + sentence.start, begin + sentence.end)
    return Sentence(answer, 0, len(answer))
