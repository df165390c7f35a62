"""The answer does not go in circles.

A loop either repeats a block of text back to back, or says the same over and over with small
changes. The first is found by looking for what stands at every `STEP`th byte once more, the second
by how far the text can be compressed, as speech recognizers do. Both work on bytes, whatever the
script, and take time in proportion to the answer's length. Lines that differ from each other, as in
a table, a list or a bibliography, are no loop however alike they are.
"""

import re
import zlib
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from pipeline.answering.checks.base import Finding, Subject, quote
from pipeline.core.records import Level

LEVEL: Level = "fail"
OF_PROSE = True

TIMES, MOST_BYTES, FEWEST_BYTES = 4, 200, 120
"""A block that is repeated so often over so many bytes is a loop; fewer bytes do if they are most
of the answer."""

STEP, PROBE, LARGEST_BLOCK, TRIES = 64, 24, 1024, 16
"""In bytes: at every step, a block is looked for that ends where its first bytes recur. A loop of
`FEWEST_BYTES` that repeats a block `TIMES` times is long enough to be met by a step."""

RATIO, FEWEST_CHARACTERS, ROW, LONG_LINE = 8, 400, 250, 40
"""Prose of so many characters that packs to less than an eighth is a loop. A line shorter than
`ROW` is a row, and one shorter than `LONG_LINE` an entry, which may come again."""

_NUMBERING = re.compile(rf"[ \t]*(?:[-*•] |\W{{0,3}}\d+[.):])\s*(?=.{{{LONG_LINE}}})")


class Loop(NamedTuple):
    """A block that is repeated back to back, and how many bytes its repetitions fill together."""

    block: bytes
    length: int

    @property
    def has_words(self) -> bool:
        return any(map(str.isalnum, self.block.decode(errors="ignore")))

    @property
    def evidence(self) -> str:
        block = quote(self.block.decode(errors="ignore"))
        return f"{self.length // len(self.block)} times: {block}"


def test(subject: Subject) -> Finding:
    if subject.completion.finish_reason == "repetition":
        return Finding(False, "finish reason repetition", "sample_anew")
    lines = [_without_numbering(line) for line in subject.answer.split("\n")]
    data = _bytes("\n".join(lines))
    for loop in filter(_is_long, _loops(data)):
        if 2 * loop.length > len(data) or (loop.length >= MOST_BYTES and loop.has_words):
            return Finding(False, loop.evidence, "sample_anew")
    if _is_varied(subject.words, len(subject.answer)):
        return Finding(True, "no loop")
    ratio = _ratio(_prose(lines))
    evidence = f"packed to 1/{ratio:.1f}"
    return Finding(True, evidence) if ratio < RATIO else Finding(False, evidence, "sample_anew")


def _is_long(loop: Loop) -> bool:
    return loop.length >= max(FEWEST_BYTES, TIMES * len(loop.block))


def _is_varied(words: list[str], characters: int) -> bool:
    """Whether so many words are new that a text cannot pack well, as nearly always."""
    return len(set(words)) * 4 > len(words) and len(words) * 20 > characters


def _without_numbering(line: str) -> str:
    """A long item of a list without its number, which may be all that it has of its own."""
    number = _NUMBERING.match(line)
    return line[number.end() :] if number else line


def _bytes(text: str) -> bytes:
    return text.encode(errors="replace")


def _loops(data: bytes) -> Iterator[Loop]:
    """Every loop that a step meets."""
    at = _recurring(data, 0)
    while at + PROBE < len(data):
        loop = _loop_at(data, at)
        at = _recurring(data, at + (max(STEP, loop.length - PROBE) if loop else STEP))
        if loop:
            yield loop


def _recurring(data: bytes, at: int) -> int:
    """The first step, beginning with `at`, whose first bytes come again within a block's reach; a
    step at the end of the data if there is none, as nearly always.
    """
    reach = LARGEST_BLOCK + PROBE
    while at + PROBE < len(data) and data.find(data[at : at + PROBE], at + 1, at + reach) < 0:
        at += STEP
    return at


def _loop_at(data: bytes, at: int) -> Loop | None:
    """The loop that a place lies in, if there is one that is large enough."""
    probe, again = data[at : at + PROBE], at
    for _ in range(TRIES):
        again = data.find(probe, again + 1, at + LARGEST_BLOCK + PROBE)
        if again < 0:
            return None
        block = again - at
        if _same(data, at, again, max(FEWEST_BYTES, TIMES * block) - STEP - block):
            return _around(data, at, block)
    return None


def _around(data: bytes, at: int, block: int) -> Loop:
    """The whole loop around a place; `block` is its block's length."""
    begin = at
    while begin and data[begin - 1] == data[begin - 1 + block]:
        begin -= 1
    end = at + block + _alike(data, at, at + block)
    return Loop(data[begin : begin + block], end - begin)


def _alike(data: bytes, one: int, other: int) -> int:
    """How many bytes from `other` on are the same as from `one` on; `one` is the earlier place."""
    known, more = 0, PROBE
    while other + known + more <= len(data) and _same(data, one + known, other + known, more):
        known, more = known + more, 2 * more
    ahead = range(min(more, len(data) - other - known))
    return known + bisect_left(
        ahead, True, key=lambda n: not _same(data, one + known, other + known, n + 1)
    )


def _same(data: bytes, one: int, other: int, length: int) -> bool:
    return data[one : one + length] == data[other : other + length]


def _prose(lines: list[str]) -> str:
    """The lines that are no rows, and the rows that come again and are no mere entries."""
    times = Counter(lines)
    return "\n".join(
        line for line in lines if len(line) >= ROW or (len(line) >= LONG_LINE and times[line] > 1)
    )


def _ratio(prose: str) -> float:
    """How many characters go into a byte; for a text too short to tell, 0."""
    if len(prose) < FEWEST_CHARACTERS:
        return 0.0
    return len(prose) / len(zlib.compress(_bytes(prose), 1))
