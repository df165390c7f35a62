"""The page about two sides: prompts, models or runs, answer by answer; every number leads to its
rows.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from rapidfuzz.distance import LCSseq

from pipeline.results.compare import Comparison, Pair, Side
from pipeline.results.pages.answers import cut
from pipeline.results.pages.matrix import draw
from pipeline.results.pages.page import PAGE_BYTES, packed, page

MOST_PAIRS = 100_000
"""Rows that a page lists; figures count all."""

MOST_ALONE = 10_000
"""Records of one side alone that a page lists."""

BOTH, BEFORE, AFTER = "both sides", "the first side alone", "the second side alone"

TEXTS_AT_ONCE = 200
"""Pairs whose texts are packed together."""

_PIECES = re.compile(r"\S+\s*|^\s+")
"""Words, each with the space after it."""


class Number(NamedTuple):
    """A count of pairs, and the filter by which the page shows them."""

    label: str
    rows: int
    filter: dict[str, str]


def comparison_page(found: Comparison, sides: Sequence[Side], job: str) -> str:
    """The page, as HTML."""
    pairs = sorted(found.pairs, key=lambda pair: pair.weight, reverse=True)
    listed = pairs if len(pairs) <= MOST_PAIRS else _fair(pairs)
    texts = list(_texts(listed))
    rows = [*map(_listed, listed), *_alone(found)]
    held = [("rows", packed(rows))]
    return page(
        "comparison",
        [*held, *((f"texts-{number}", content) for number, content in enumerate(texts))],
        job=job,
        sides=[str(side) for side in sides],
        found=found,
        groups=list(_groups(found)),
        sums=[(column.replace("_", " "), *found.sums(column)) for column in SUMMED],
        listed=len(rows),
        every=len(found.pairs) + len(found.only_before) + len(found.only_after),
        opened=min(len(texts) * TEXTS_AT_ONCE, len(listed)),
        written=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    )


SUMMED = ("word_count", "prompt_tokens", "completion_tokens")


def _fair(pairs: Sequence[Pair]) -> list[Pair]:
    """Half of the list for the largest changes, half drawn by lot from the others."""
    half = MOST_PAIRS // 2
    rest = sorted(pairs[half:], key=lambda pair: draw(pair.record_id))[:half]
    return [*pairs[:half], *sorted(rest, key=lambda pair: pair.weight, reverse=True)]


def _alone(found: Comparison) -> Iterator[dict[str, Any]]:
    """Rows for what only one side has answered."""
    for side, ids in ((BEFORE, found.only_before), (AFTER, found.only_after)):
        yield from ({"id": record_id, "on": side} for record_id in ids[:MOST_ALONE])


def _groups(found: Comparison) -> Iterator[tuple[str, list[Number]]]:
    yield (
        "records",
        [
            Number(f"on {side}", count, {"on": side})
            for side, count in (
                (BOTH, len(found.pairs)),
                (BEFORE, len(found.only_before)),
                (AFTER, len(found.only_after)),
            )
        ],
    )
    for column in ("status", "stance"):
        yield (
            column,
            [
                Number(f"{was} → {now}", count, {column: f"{was} → {now}"})
                for (was, now), count in found.transitions(column).most_common()
            ],
        )
    yield (
        "answers",
        [
            Number(
                "to the letter the same" if kind == "same" else f"differ in {kind}",
                count,
                {"extent": kind},
            )
            for kind, count in sorted(found.extents().items())
        ],
    )
    yield (
        "checks",
        [
            Number(f"{name}: {label}", count, {move: name})
            for name, counts in found.checks().items()
            for move, label, count in zip(
                ("gained", "lost"), ("passed now", "missed now"), counts, strict=True
            )
            if count
        ],
    )


def _listed(pair: Pair) -> dict[str, Any]:
    was, now = pair.missed
    return {
        "id": pair.record_id,
        "on": BOTH,
        "status": f"{pair.before['status']} → {pair.after['status']}",
        "stance": f"{pair.before['stance']} → {pair.after['stance']}",
        "extent": pair.extent,
        "likeness": round(pair.likeness, 3),
        "gained": sorted(was - now),
        "lost": sorted(now - was),
    }


def _texts(pairs: Sequence[Pair]) -> Iterator[str]:
    """Packed texts, from the largest change on, as long as the page has room."""
    left = PAGE_BYTES
    for start in range(0, len(pairs), TEXTS_AT_ONCE):
        content = packed([_text(pair) for pair in pairs[start : start + TEXTS_AT_ONCE]])
        if len(content) > left:
            return
        left -= len(content)
        yield content


def _text(pair: Pair) -> dict[str, Any]:
    before, after = (cut(row["answer"] or "") for row in (pair.before, pair.after))
    return {
        "question": cut(pair.after["question"] or ""),
        "words": [pair.before["word_count"], pair.after["word_count"]],
        "sides": marked(before, after),
    }


def marked(before: str, after: str) -> tuple[list[tuple[bool, str]], list[tuple[bool, str]]]:
    """Both texts in pieces, each with whether the other side lacks it; joined they are the texts.

    What both have is their longest common subsequence of words, by rapidfuzz.
    """
    old, new = _PIECES.findall(before), _PIECES.findall(after)
    left: list[tuple[bool, str]] = []
    right: list[tuple[bool, str]] = []
    for move in LCSseq.opcodes(list(map(str.strip, old)), list(map(str.strip, new))):
        for pieces, words in (
            (left, old[move.src_start : move.src_end]),
            (right, new[move.dest_start : move.dest_end]),
        ):
            if words:
                pieces.append((move.tag != "equal", "".join(words)))
    return left, right
