"""What a check says of the claims that it found."""

from collections.abc import Sequence

from pipeline.answering.checks.base import Finding, Subject, quote
from pipeline.answering.grounding.sentences import sentence_at
from pipeline.core.records import Ask, Claim

MOST_NAMED = 5
"""So many items are named at most, in evidence and to the model."""


def finding(subject: Subject, claims: Sequence[Claim], items: str) -> Finding:
    """The finding of a check that looked for items of an answer, such as numbers, in its prompt.

    Passes unless a claim is unsupported; the repair names what is.
    """
    unsupported = [claim for claim in claims if claim.kind == "unsupported"]
    if unsupported:
        first = sentence_at(subject.answer, unsupported[0].start)
        evidence = quote(f"not in the passages: {_named(unsupported)}; in: {first.text}")
        return Finding(False, evidence, _ask(unsupported), tuple(claims))
    kinds = [(kind, [c for c in claims if c.kind == kind]) for kind in ("derived", "general")]
    others = [f"{kind}: {_named(some)}" for kind, some in kinds if some]
    evidence = quote("; ".join((f"no {items} that the passages lack", *others)))
    return Finding(True, evidence, claims=tuple(claims))


def _ask(claims: Sequence[Claim]) -> Ask:
    return Ask(
        f"The passages do not contain this: {_named(claims)}. Give your answer again. Leave it "
        "out, or replace it with what the passages say."
    )


def _named(claims: Sequence[Claim]) -> str:
    """The first of the claims, each once."""
    texts = list(dict.fromkeys(" ".join(claim.text.split()) for claim in claims))
    more = len(texts) - MOST_NAMED
    return ", ".join(texts[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
