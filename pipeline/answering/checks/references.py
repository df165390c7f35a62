"""The works that an answer cites are those of its prompt.

It cites by author and year, by number in brackets, or with an item of a list of references.
"""

import re
from collections.abc import Iterator, Sequence

from pipeline.answering.checks.base import Finding, Subject
from pipeline.answering.grounding.citations import citations_in, holds
from pipeline.answering.grounding.nearest import claim_at
from pipeline.answering.grounding.reference_lists import Item, cited_numbers, items_in, numbers_of
from pipeline.answering.grounding.told import finding
from pipeline.core.records import Claim, Level

LEVEL: Level = "label"
OF_PROSE = True

MOST_CLAIMS = 50

_ANY = re.compile(r"(?:1[89]|20)\d\d|\[\d")


def test(subject: Subject) -> Finding:
    is_open = subject.ground.text and _ANY.search(subject.answer)
    claims = tuple(_claims(subject)) if is_open else ()
    return finding(subject, claims, "references")


def _claims(subject: Subject) -> Iterator[Claim]:
    answer, ground = subject.answer, subject.ground
    items = list(items_in(answer))
    spans = [(item.start, item.end) for item in items if not item.is_held(ground.folded)]
    spans += [
        (cited.start, cited.end)
        for cited in citations_in(answer)
        if not _lies_in(cited.start, items) and not holds(ground.folded, cited)
    ]
    if not items and (numbered := list(cited_numbers(answer))):
        known = numbers_of(ground.text)
        spans += [span for span, numbers in numbered if not numbers <= known]
    for start, end in sorted(spans)[:MOST_CLAIMS]:
        yield claim_at(subject, "unsupported", start, end)


def _lies_in(at: int, items: Sequence[Item]) -> bool:
    """Whether an offset lies in a list of references, whose items are looked for as a whole."""
    return any(item.start <= at < item.end for item in items)
