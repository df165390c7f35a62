"""Runs one check on an answer and the prompt that it answers."""

from pipeline.answering.checks import known_checks
from pipeline.answering.checks.base import Finding, Subject
from pipeline.core.records import Claim, Completion, Message

QUESTION = "Where is the code of the heron counter available (e.g., GitHub, Zenodo)?"


def subject(answer: str, passages: str, question: str = QUESTION) -> Subject:
    """An answer whose prompt is a system message, then the passages and the question."""
    user = f"Passages:\n\n[1]\n{passages}\n\nQuestion: {question}"
    return Subject(
        Completion(answer, "stop"),
        answer,
        boilerplate="Passages: Question:",
        max_words=399,
        question=question,
        messages=(Message("system", "You answer by the passages."), Message("user", user)),
    )


def judged(check: str, answer: str, passages: str, question: str = QUESTION) -> Finding:
    """What a check finds in an answer to such a prompt."""
    finding = known_checks()[check].test(subject(answer, passages, question))
    assert all(answer[claim.start : claim.end] == claim.text for claim in finding.claims)
    assert finding.passed == (not unsupported(finding))
    return finding


def unsupported(finding: Finding) -> list[str]:
    return [claim.text for claim in finding.claims if claim.kind == "unsupported"]


def only_claim(finding: Finding) -> Claim:
    (claim,) = finding.claims
    return claim


def source_of(claim: Claim, passages: str) -> str:
    """The place of the prompt that a claim points at, which lies in the user's message."""
    assert claim.message == 1
    return f"Passages:\n\n[1]\n{passages}"[claim.source_start : claim.source_end]


def finding(check: str, answer: str, *passages: str) -> Finding:
    """What a check says of an answer to a prompt with these passages, each a message."""
    messages = tuple(Message("user", passage) for passage in passages)
    subject = Subject(Completion(answer, "stop"), answer, "", 399, messages=messages)
    return known_checks()[check].test(subject)


def kinds(check: str, answer: str, *passages: str) -> list[tuple[str, str]]:
    """Each claim's text and kind; its offsets are those of the text."""
    claims = finding(check, answer, *passages).claims
    assert all(answer[c.start : c.end] == c.text for c in claims)
    return [(c.text, c.kind) for c in claims]
