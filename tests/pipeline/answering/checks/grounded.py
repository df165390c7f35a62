"""Runs a check that compares an answer with its prompt."""

from pipeline.answering.checks import known_checks
from pipeline.answering.checks.base import Finding, Subject
from pipeline.core.records import Completion, Message


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
