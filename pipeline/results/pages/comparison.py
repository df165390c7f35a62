"""The page that compares two sides answer by answer; every number on it leads to its rows."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from rapidfuzz.distance import LCSseq

from pipeline.core.filesystem import Location
from pipeline.core.text import natural
from pipeline.results.compare import (
    SUMMED,
    ChangeKind,
    Comparison,
    Pair,
    Side,
    read_prompts,
    template_of,
)
from pipeline.results.pages.answers import carried_texts, shortened
from pipeline.results.pages.overview import MAX_QUESTIONS, question_name
from pipeline.results.pages.page import MAX_DATA_BYTES, compressed_json, render_page
from pipeline.results.pages.paper_sample import stable_hash
from pipeline.store.runs import all_runs

MAX_PAIRS = 100_000
"""Pairs that a page lists. Its counts cover all."""

MAX_ONE_SIDED = 10_000
"""Records answered on one side only that a page lists, per side."""

KIND_LABELS: Mapping[ChangeKind, str] = {
    "same": "identical",
    "wording": "differ in wording",
    "substance": "differ in substance",
}
BOTH, BEFORE, AFTER = "both sides", "the first side only", "the second side only"

MAX_PROMPTS = 2_000
"""Of the largest changes."""

MAX_ASKED = 100
"""Characters of its question that a row shows beside the question's id."""

PAIRS_PER_CHUNK = 200
"""Pairs whose texts are compressed together."""

_WORDS = re.compile(r"\S+\s*|^\s+")
"""Words, each with the space after it."""

Piece = tuple[bool, str]
"""Whether only this side has a piece of text, and the piece."""


class LinkedCount(NamedTuple):
    """A number of rows, and the filter that makes the page list them."""

    label: str
    rows: int
    filter: dict[str, str]


def comparison_page(
    store: Location, comparison: Comparison, sides: Sequence[Side], job: str
) -> str:
    """The page as HTML, with the prompts of the largest changes, from the second side."""
    listed = _listed(comparison)
    prompts = read_prompts(store, sides[1], [pair.record_id for pair in listed[:MAX_PROMPTS]])
    runs = list(all_runs(store))
    templates = [template_of(runs, side) for side in sides]
    chunks = list(_text_chunks(listed, prompts))
    rows = [*map(_row, listed), *_one_sided_rows(comparison)]
    one_sided = len(comparison.only_before) + len(comparison.only_after)
    return render_page(
        "comparison",
        [("rows", compressed_json(rows)), *((f"texts-{n}", c) for n, c in enumerate(chunks))],
        job=job,
        sides=[str(side) for side in sides],
        template_sides=_template_sides(templates),
        groups=dict(_counts(comparison)),
        questions=_by_question(comparison),
        sums=[(column.replace("_", " "), *comparison.sums(column)) for column in SUMMED],
        listed=len(rows),
        total=len(comparison.pairs) + one_sided,
        opened=min(len(chunks) * PAIRS_PER_CHUNK, len(listed)),
        written=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    )


def _listed(comparison: Comparison) -> list[Pair]:
    pairs = sorted(comparison.pairs, key=lambda pair: pair.size_of_change, reverse=True)
    return pairs if len(pairs) <= MAX_PAIRS else _largest_and_sample(pairs)


def _template_sides(
    templates: Sequence[Mapping[str, str] | None],
) -> tuple[list[Piece], list[Piece]] | None:
    """Two templates in pieces; None if they are the same, or one is not known."""
    texts = ["\n\n".join(filter(None, (t["system"], t["body"]))) if t else "" for t in templates]
    return diff_words(*texts) if all(texts) and texts[0] != texts[1] else None


def _by_question(comparison: Comparison) -> list[tuple[str, list[LinkedCount]]]:
    """For each question, how many of its answers are the same, and how the others differ."""
    kinds: defaultdict[str, Counter[ChangeKind]] = defaultdict(Counter)
    texts: dict[str, str] = {}
    for pair in comparison.pairs:
        name = question_name(pair.after["question_id"], pair.after["question"])
        kinds[name][pair.change_kind] += 1
        texts[name] = shortened(pair.after["question"] or name)
    return [
        (
            texts[name],
            [
                LinkedCount(label, kinds[name][kind], {"question": name, "extent": kind})
                for kind, label in KIND_LABELS.items()
            ],
        )
        for name in sorted(kinds, key=natural)[:MAX_QUESTIONS]
    ]


def _largest_and_sample(pairs: Sequence[Pair]) -> list[Pair]:
    """Half of the list for the largest changes, half for a random sample of the rest."""
    half = MAX_PAIRS // 2
    sample = sorted(pairs[half:], key=lambda pair: stable_hash(pair.record_id))[:half]
    return [*pairs[:half], *sorted(sample, key=lambda pair: pair.size_of_change, reverse=True)]


def _one_sided_rows(comparison: Comparison) -> Iterator[dict[str, Any]]:
    for side, ids in ((BEFORE, comparison.only_before), (AFTER, comparison.only_after)):
        yield from ({"id": record_id, "on": side} for record_id in ids[:MAX_ONE_SIDED])


def _counts(comparison: Comparison) -> Iterator[tuple[str, list[LinkedCount]]]:
    """The page's numbers by the title of their table."""
    records = {
        BOTH: len(comparison.pairs),
        BEFORE: len(comparison.only_before),
        AFTER: len(comparison.only_after),
    }
    yield "records", [LinkedCount(f"on {side}", n, {"on": side}) for side, n in records.items()]
    for column in ("status", "stance"):
        moves = comparison.transitions(column).most_common()
        labels = [(f"{was} → {now}", count) for (was, now), count in moves]
        yield column, [LinkedCount(label, count, {column: label}) for label, count in labels]
    kinds = sorted(comparison.change_kinds().items())
    yield "answers", [LinkedCount(KIND_LABELS[k], count, {"extent": k}) for k, count in kinds]
    yield "checks", list(_check_counts(comparison))


def _check_counts(comparison: Comparison) -> Iterator[LinkedCount]:
    for name, (fixed, broken) in comparison.check_changes().items():
        if fixed:
            yield LinkedCount(f"{name}: now passed", fixed, {"gained": name})
        if broken:
            yield LinkedCount(f"{name}: now missed", broken, {"lost": name})


def _row(pair: Pair) -> dict[str, Any]:
    was, now = pair.missed_checks
    question = pair.after["question_id"], pair.after["question"]
    return {
        "id": pair.record_id,
        "on": BOTH,
        "paper": pair.after["paper_id"] or pair.record_id,
        "question": question_name(*question),
        "asked": (question[1] or "")[:MAX_ASKED] if question[0] else "",
        "status": f"{pair.before['status']} → {pair.after['status']}",
        "stance": f"{pair.before['stance']} → {pair.after['stance']}",
        "extent": pair.change_kind,
        "similarity": round(pair.similarity, 3),
        "gained": sorted(was - now),
        "lost": sorted(now - was),
    }


def _text_chunks(
    pairs: Sequence[Pair], prompts: Mapping[str, list[dict[str, str]]]
) -> Iterator[str]:
    """Compressed texts, largest change first, until the page has no more room."""
    room = MAX_DATA_BYTES
    for start in range(0, len(pairs), PAIRS_PER_CHUNK):
        here = pairs[start : start + PAIRS_PER_CHUNK]
        chunk = compressed_json([_texts(p, prompts.get(p.record_id, ())) for p in here])
        if len(chunk) > room:
            return
        room -= len(chunk)
        yield chunk


def _texts(pair: Pair, prompt: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    before, after = (shortened(row["answer"] or "") for row in (pair.before, pair.after))
    return {
        "question": shortened(pair.after["question"] or ""),
        "columns": carried_texts(pair.carried),
        "words": [pair.before["word_count"], pair.after["word_count"]],
        "sides": diff_words(before, after),
        "prompt": [(message["role"], shortened(message["content"])) for message in prompt],
    }


def diff_words(before: str, after: str) -> tuple[list[Piece], list[Piece]]:
    """Both texts in pieces that joined are the text.

    What both sides have is their longest common subsequence of words, by rapidfuzz.
    """
    old, new = _WORDS.findall(before), _WORDS.findall(after)
    left: list[Piece] = []
    right: list[Piece] = []
    for move in LCSseq.opcodes(list(map(str.strip, old)), list(map(str.strip, new))):
        for pieces, words in (
            (left, old[move.src_start : move.src_end]),
            (right, new[move.dest_start : move.dest_end]),
        ):
            if words:
                pieces.append((move.tag != "equal", "".join(words)))
    return left, right
