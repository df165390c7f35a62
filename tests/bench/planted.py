"""Faults planted in grounded answers, the same for the same seed: each a kind of its own."""

import random
import re
from collections.abc import Callable, Mapping

from pipeline.answering.grounding.citations import citations_in, holds
from pipeline.answering.grounding.folded import folded

Planter = Callable[[str, str, random.Random], str | None]
"""From an answer and its prompt to the answer with one fault; None where it has no place."""

_NUMBER = re.compile(r"(?<![\w.,-])\d+(?:[.,]\d+)*(?!\w)")
_STRANGERS = ("Quillfeather", "Brackenstone", "Ovandale", "Tresk-Holm", "Ymberling")


def _stands_in(text: str, number: str) -> bool:
    return bool(re.search(rf"(?<![\d.,]){re.escape(number)}(?!\d|[.,]\d)", text))


def digit(answer: str, prompt: str, chance: random.Random) -> str | None:
    """Another digit in a number of two and more that the prompt has as it is."""
    numbers = [n for n in _NUMBER.finditer(answer) if len(n[0]) > 1 and _stands_in(prompt, n[0])]
    if not numbers:
        return None
    number = chance.choice(numbers)
    places = [at for at in range(number.start(), number.end()) if answer[at].isdigit()]
    for _ in range(20):
        at = chance.choice(places)
        changed = (
            answer[:at] + chance.choice("123456789".replace(answer[at], "")) + answer[at + 1 :]
        )
        if not _stands_in(prompt, changed[number.start() : number.end()]):
            return changed
    return None


def year(answer: str, prompt: str, chance: random.Random) -> str | None:
    """Another year in a citation that the prompt has, whether it has that year elsewhere or not."""
    cited = [c for c in citations_in(answer) if holds(folded(prompt), c)]
    if not cited:
        return None
    one = chance.choice(cited)
    other = str(int(one.year) + chance.choice((-7, -4, -3, -2, -1, 1, 2, 3)))
    return answer[: one.end - 4] + other + answer[one.end :]


def author(answer: str, prompt: str, chance: random.Random) -> str | None:
    """Another author in a citation that the prompt has."""
    cited = [c for c in citations_in(answer) if holds(folded(prompt), c)]
    if not cited:
        return None
    one = chance.choice(cited)
    name = re.match(r"[^\s,]+", answer[one.start : one.end])
    return (
        name and answer[: one.start] + chance.choice(_STRANGERS) + answer[one.start + name.end() :]
    )


PLANTED: Mapping[str, tuple[str, Planter]] = {
    "numbers: a digit": ("numbers", digit),
    "references: a year": ("references", year),
    "references: an author": ("references", author),
}
"""Kinds of faults, each with the check that should find it."""
