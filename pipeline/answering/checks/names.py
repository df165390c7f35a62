"""Models, data sets, software and repositories that the answer names stand in its prompt.

A name is known by its capitals and digits (TensorFlow, ResNet-50) or by a list. It stands in the
prompt in any case, glued or apart, in the plural, in full, or with its expansion. What a sentence
denies is no claim, and neither is what the question says. Rather a name is missed than a wrong one
flagged.
"""

import re
from collections import Counter
from collections.abc import Iterator

from pipeline.answering.checks.base import Finding, Subject
from pipeline.answering.grounding.background import is_background, speaks_of_paper
from pipeline.answering.grounding.letters import Letters, fold
from pipeline.answering.grounding.names import Name, holds, names_of
from pipeline.answering.grounding.nearest import claim_at
from pipeline.answering.grounding.remarks import is_general_at
from pipeline.answering.grounding.sentences import Sentence, sentence_at
from pipeline.answering.grounding.told import finding
from pipeline.answering.stance import denies
from pipeline.core.records import Claim, ClaimKind, Level

LEVEL: Level = "label"
OF_PROSE = True

MOST_LOOKS = 5
"""Places of an answer at which one name is looked at."""

_LEAVES_OPEN = re.compile(r"(?i)\b(?:whether|impossible to|cannot be|difficult to)\b")
_TURNS = re.compile(r"(?i)[,;]? (?:but|although|though|however|while|yet|rather than)\b|; ")
_SHORT_FORM = re.compile(r" \(([A-Z][\w-]{2,})\)")
_LONG_FORM = re.compile(r"\b([A-Z][\w-]{2,}) \([^()]*$")
_WORD = re.compile(r"[^\W_]+")


def test(subject: Subject) -> Finding:
    names = list(names_of(subject.answer)) if subject.messages else []
    missing = {text for text in {name.text for name in names} if not _stands(subject, text)}
    claims = tuple(_claims(subject, [name for name in names if name.text in missing]))
    return finding(subject, claims, "names")


def _stands(subject: Subject, name: str) -> bool:
    return name in subject.ground.text or holds(subject.ground.letters, name)


def _claims(subject: Subject, missing: list[Name]) -> Iterator[Claim]:
    """One claim for each name: where it is first said of the paper, or else stated first."""
    claimed: dict[str, tuple[Name, ClaimKind]] = {}
    looked_at: Counter[str] = Counter()
    for name in missing:
        looked_at[name.text] += 1
        _, known = claimed.get(name.text, (name, None))
        if known == "unsupported" or looked_at[name.text] > MOST_LOOKS:
            continue
        clause = _clause(sentence_at(subject.answer, name.start), name.start)
        kind = _kind(subject, name, clause)
        if kind and (not known or (kind == "unsupported" and speaks_of_paper(clause.text))):
            claimed[name.text] = name, kind
    for name, kind in claimed.values():
        yield claim_at(subject, kind, name.start, name.end)


def _kind(subject: Subject, name: Name, clause: Sentence) -> ClaimKind | None:
    """None for a name that is no claim where it stands."""
    if denies(clause.text) or _LEAVES_OPEN.search(clause.text):
        return None
    if _is_expanded(subject.answer, name, subject.ground.letters):
        return None
    is_general = is_general_at(subject.answer, name.start)
    if is_general or is_background(clause.text, name.start - clause.start):
        return "general"
    return "unsupported"


def _clause(sentence: Sentence, at: int) -> Sentence:
    """The part of a sentence around an offset, between words that turn to the contrary."""
    start, end = sentence.start, sentence.end
    for turn in _TURNS.finditer(sentence.text):
        if sentence.start + turn.end() <= at:
            start = sentence.start + turn.end()
        elif sentence.start + turn.start() > at:
            end = sentence.start + turn.start()
            break
    return Sentence(sentence.text[start - sentence.start : end - sentence.start], start, end)


def _is_expanded(answer: str, name: Name, ground: Letters) -> bool:
    """Whether the answer says what a short form stands for, and the prompt holds the other one."""
    short = _SHORT_FORM.match(answer, name.end)
    long = _LONG_FORM.search(answer, 0, name.start)
    if any(form and fold(form[1]) in ground.run_set for form in (short, long)):
        return True
    capitals = [sign.lower() for sign in name.text if sign.isupper()]
    before = [fold(word) for word in _WORD.findall(answer[: name.start])[-len(capitals) :]]
    is_aside = answer[: name.start].rstrip().endswith("(")
    return is_aside and [word[:1] for word in before] == capitals and "".join(before) in ground.text
