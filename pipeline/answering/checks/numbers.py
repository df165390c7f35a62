"""The answer's numbers are those of its prompt."""

from collections.abc import Iterator, Sequence

from pipeline.answering.checks.base import Finding, Subject
from pipeline.answering.grounding.derived_numbers import is_derived
from pipeline.answering.grounding.nearest import claim_at
from pipeline.answering.grounding.numerals import Numeral
from pipeline.answering.grounding.remarks import is_general_at
from pipeline.answering.grounding.stated_numbers import is_cited_year, stated_numbers
from pipeline.answering.grounding.told import finding
from pipeline.core.records import Claim, ClaimKind, Level

LEVEL: Level = "label"
OF_PROSE = True

MOST_CLAIMS = 50
"""An answer that goes in circles is not looked at to its end."""


def test(subject: Subject) -> Finding:
    held = subject.ground.numbers
    if not subject.ground.text or held.has_all_of(subject.answer):
        return finding(subject, (), "numbers")
    stated = stated_numbers(subject.answer)
    missing = [n for n in stated if not (n.text in held.plain or held.has(n))]
    return finding(subject, tuple(_claims(subject, stated, missing[:MOST_CLAIMS])), "numbers")


def _claims(
    subject: Subject, stated: Sequence[Numeral], missing: Sequence[Numeral]
) -> Iterator[Claim]:
    strange = {n.start for n in missing}
    known = [n for n in stated if n.start not in strange]
    follow: set[str] = set()
    for numeral in missing:
        kind = _kind(subject, numeral, known, follow)
        if kind == "derived":
            follow |= numeral.keys
            known.append(numeral)
        yield claim_at(subject, kind, numeral.start, numeral.end)


def _kind(
    subject: Subject, numeral: Numeral, known: Sequence[Numeral], follow: set[str]
) -> ClaimKind:
    answer, held = subject.answer, subject.ground.numbers
    if is_general_at(answer, numeral.start) and not is_cited_year(answer, numeral):
        return "general"
    if numeral.end == len(answer) and held.begins(numeral.text):
        return "derived"  # the answer was cut off within a number
    if numeral.keys & follow or is_derived(numeral, answer, known, held):
        return "derived"
    return "unsupported"
