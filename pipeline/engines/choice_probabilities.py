"""How probable each choice was, from the log probabilities of the tokens that were generated.

Each token splits the choices that are still possible into those that go on with it and those that
another token would have begun. What a model gave to a choice is the probability of the way to the
token that tells it from the others. Only the most probable tokens of each step are known: the rest
counts for nothing, and the sum over all choices is made 1.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import exp
from typing import NamedTuple, TypeAlias

DIGITS = 4

ALTERNATIVES = 20
"""Tokens of a step whose probabilities are known, at most: vLLM's own default limit."""


class Candidate(NamedTuple):
    """A token that a model might have written next: its text, empty if it ends the turn."""

    text: str
    log_probability: float


Step: TypeAlias = tuple[str, Sequence[Candidate]]
"""The text of the token that was written, and the most probable ones, itself among them."""


def choice_probabilities(
    choices: Sequence[str], steps: Iterable[Step]
) -> Mapping[str, float] | None:
    """A probability for each choice; None if what was written is none of them."""
    found = dict.fromkeys(choices, 0.0)
    possible, way, before = list(choices), 1.0, ""
    for text, candidates in steps:
        if not before and not text.strip() and text:
            continue  # white space in front of the choice
        going_on = _with(possible, before, text)
        if not going_on:
            return None
        for candidate in candidates:
            others = [c for c in _with(possible, before, candidate.text) if c not in going_on]
            for choice in others:
                found[choice] += way * exp(candidate.log_probability) / len(others)
        way *= sum(
            exp(c.log_probability)
            for c in candidates
            if set(_with(possible, before, c.text)) & set(going_on)
        )
        possible, before = going_on, before + text
        if len(possible) == 1:
            found[possible[0]] += way
            return _shares(found)
    ended = [choice for choice in possible if _form(choice) == _form(before)]
    if not ended:
        return None
    found[ended[0]] += way
    return _shares(found)


def _with(choices: Iterable[str], before: str, text: str) -> list[str]:
    """The choices that a text may still become when a token is added to it."""
    if not text:
        return [choice for choice in choices if _form(choice) == _form(before)]
    written = _form(before + text)
    return [c for c in choices if _form(c).startswith(written) or _begins(written, _form(c))]


def _begins(written: str, choice: str) -> bool:
    """Whether a text is a choice with signs behind it; "not" does not begin with "no"."""
    return written.startswith(choice) and not written[len(choice) :][:1].isalnum()


def _form(text: str) -> str:
    return text.lstrip().casefold()


def _shares(found: Mapping[str, float]) -> Mapping[str, float] | None:
    total = sum(found.values())
    return {c: round(p / total, DIGITS) for c, p in found.items()} if total else None
