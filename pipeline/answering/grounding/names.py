"""Names in an answer, and whether a prompt holds them in one form or another."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from rapidfuzz import fuzz, process

from pipeline.answering.grounding.known_names import (
    IN_FULL,
    IN_WORDS,
    KNOWN,
    SHORT,
    SMALL,
    TERMS,
    VERSIONED,
)
from pipeline.answering.grounding.letters import Letters, fold

FEWEST_LETTERS, MOST_LETTERS = 3, 60
"""Letters of a name that capitals and digits tell."""

FEWEST_CAPITALS, LONG = 4, 5
"""Letters of a name in capitals that is no known one; and of one that no word holds by chance."""

FEWEST_MISSPELT, ALIKE = 6, 88
"""Letters of a name that may be misspelt, and percent of them that stand in another spelling."""

NEAR = 80
"""Letters and digits behind a name in which its version stands, as in `ResNet-18, 34 and 50`."""

_BEGIN, _END = r"(?<![\w@/.=&?#\\-])", r"(?![\w@/-]|\.[a-z])"
_OF_WORDS = re.compile("(?:" + "|".join(map(re.escape, IN_WORDS)) + ")" + _END)
_FIRST_WORDS = frozenset(name.split()[0] for name in IN_WORDS)
_SMALL = re.compile(_BEGIN + "(?:" + "|".join(map(re.escape, sorted(SMALL))) + ")" + _END)
_TOKEN = re.compile(r"[A-Z](?<![\w@/.=&?#\\-].)[A-Za-z0-9]*(?:[-+][A-Za-z0-9]+)*(?![\w@/]|\.[a-z])")
_TAIL = re.compile(r"(?:-[a-z]+)+$")
_CAMEL = re.compile(r"[A-Za-z][a-z][A-Z]|[A-Z]{3}[a-z]{2}|^i[A-Z][a-z]{3}")
_PERSON = re.compile(r"(?:Mc|Mac|Le|De|Di|Du|La|Van|O)[A-Z][a-z]+")
_METRIC = re.compile(r"Inception (?:Score|Distance)")
_VERSION_BEHIND = re.compile(r"v?\d+[a-z]?$")
_VERSION = re.compile(r"(.*?[a-z])(v?\d+[a-z]?\d*)")
_LIGATURES = re.compile(r"ff[il]|f[fil]")


class Name(NamedTuple):
    """A name as an answer writes it, without `-based` and the like."""

    text: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)


def names_of(answer: str) -> Iterator[Name]:
    """What looks like the name of a model, a data set, software or a repository."""
    if any(name in answer for name in SMALL):  # seldom, and quicker than the pattern
        yield from (Name(found[0], found.start()) for found in _SMALL.finditer(answer))
    end = 0
    for found in _TOKEN.finditer(answer):
        token, start = found[0], found.start()
        if token in _FIRST_WORDS and (words := _OF_WORDS.match(answer, start)):
            end = words.end()
            yield Name(words[0], start)
        name = _TAIL.sub("", token) if "-" in token else token
        if start >= end and _is_name(name) and not _METRIC.match(answer, start):
            yield Name(name, start)


def _is_name(token: str) -> bool:
    folded = token.replace("-", "").lower()
    if token in SHORT or folded in KNOWN or _VERSION_BEHIND.sub("", folded) in VERSIONED:
        return True
    if not FEWEST_LETTERS <= len(token) <= MOST_LETTERS or token[1:].islower():
        return False
    if folded in TERMS or _singular(folded) in TERMS:
        return False
    if "+" in token.rstrip("+") or _PERSON.fullmatch(token):
        return False
    letters = [sign for sign in token if sign.isalpha()]
    if token.isupper():
        return len(letters) >= FEWEST_CAPITALS
    return bool(_CAMEL.search(token)) and len(letters) > 3


def holds(ground: Letters, name: str) -> bool:
    """Whether a prompt holds a name: glued or apart, in the plural, damaged, short or in full."""
    folded = fold(name)
    if " " in name and _has_part(ground, name.split()):
        return True
    if _is_shortened(ground, name) or _has_both(ground, name):
        return True
    forms = {folded, _singular(folded), _LIGATURES.sub("", folded)}
    return (
        any(_stands(ground, form) for form in forms)
        or any(ground.text.find(full) >= 0 for full in _in_full(folded))
        or _has_version(ground, folded)
        or _is_misspelt(ground, folded)
    )


def _has_part(ground: Letters, words: list[str]) -> bool:
    """Whether a prompt holds a name of several words shortened, or as a link turns it round."""
    initials = "".join(word[0] for word in words).lower()
    turned, rest = fold("".join(reversed(words))), fold("".join(words[1:]))
    return (
        initials in ground.run_set
        or turned in ground.text
        or (len(words) > 2 and rest in ground.text)
    )


def _is_shortened(ground: Letters, name: str) -> bool:
    """Whether the letters of a name are the initials of words of the prompt."""
    is_long = name.isupper() and name.isalpha() and len(name) >= FEWEST_CAPITALS
    return is_long and name.lower() in ground.initials


def _has_both(ground: Letters, name: str) -> bool:
    """Whether a prompt holds both names of a pair, such as `CNN-LSTM`."""
    parts = name.split("-")
    return len(parts) > 1 and all(
        len(part) > 2 and not part.isdigit() and _stands(ground, fold(part)) for part in parts
    )


def _stands(ground: Letters, form: str) -> bool:
    if len(form) >= LONG:
        return form in ground.text
    start = ground.text.find(form)
    while start >= 0:
        if start in ground.cut_set:
            return True
        start = ground.text.find(form, start + 1)
    return False


def _in_full(folded: str) -> Iterator[str]:
    for short in (folded, _singular(folded)):
        if short in IN_FULL:
            yield IN_FULL[short]


def _has_version(ground: Letters, folded: str) -> bool:
    """Whether a prompt names a version apart from its name, behind that of another one."""
    parts = _VERSION.fullmatch(folded)
    if not parts or len(parts[1]) < 3:
        return False
    name, version = parts.groups()
    start = ground.text.find(name)
    while start >= 0:
        behind = ground.runs_around(start, start + len(name) + NEAR, 0)
        if version in behind:
            return True
        start = ground.text.find(name, start + 1)
    return False


def _is_misspelt(ground: Letters, folded: str) -> bool:
    """Whether a prompt has the name with another letter or two, yet with the same digits."""
    if len(folded) < FEWEST_MISSPELT:
        return False
    letters, digits = folded.rstrip("0123456789"), _digits(folded)
    runs = [run for run in ground.runs if len(run) >= FEWEST_MISSPELT]
    near = process.extractOne(letters, runs, scorer=fuzz.ratio, score_cutoff=ALIKE)
    return near is not None and _digits(near[0]) in ("", digits) and digits in ground.text


def _digits(text: str) -> str:
    return "".join(filter(str.isdigit, text))


def _singular(folded: str) -> str:
    return folded.removesuffix("s")
