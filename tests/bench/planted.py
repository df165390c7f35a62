"""Faults planted in grounded answers, the same for the same seed: each a kind of its own."""

import re
from collections.abc import Callable, Mapping
from random import Random

from pipeline.answering.checks.base import Subject
from pipeline.answering.checks.links import links_of
from pipeline.answering.checks.quotes import LITTLE, long_quotations
from pipeline.answering.grounding import citations, names

Planter = Callable[[Subject, Random], str | None]
"""From an answer with its prompt to the answer with one fault; None where there is no place."""

_NUMBER = re.compile(r"(?<![\w.,-])\d+(?:[.,]\d+)*(?!\w)")
_AUTHORS = ("Quillfeather", "Brackenstone", "Ovandale", "Tresk-Holm", "Ymberling")
_WORDS = (
    *("harbour", "velvet", "parliament", "copper", "orchestra", "ladder", "pepper", "saddle"),
    *("voyage", "kitchen", "lantern", "marble", "tunnel", "wardrobe", "festival", "pocket"),
)
_NAMES = (
    *("ResNet-101", "DenseNet-121", "VGG19", "YOLOv4", "MobileNetV3", "EfficientNet-B4"),
    *("TensorFlow", "PyTorch", "Keras", "Caffe", "MXNet", "ImageNet", "COCO", "CIFAR-10", "MNIST"),
    *("GitLab", "Figshare", "Zenodo", "Dryad", "Kaggle", "SegNet", "DeepLabV3", "AlexNet"),
    *("XGBoost", "LightGBM", "scikit-learn", "OpenCV", "MATLAB", "Azure", "iNaturalist"),
)


def digit(subject: Subject, chance: Random) -> str | None:
    """Another digit in a number of two and more that the prompt has as it is."""
    answer, prompt = subject.answer, subject.ground.text
    numbers = [n for n in _NUMBER.finditer(answer) if len(n[0]) > 1 and _stands_in(prompt, n[0])]
    if not numbers:
        return None
    number = chance.choice(numbers)
    places = [at for at in range(number.start(), number.end()) if answer[at].isdigit()]
    for _ in range(20):
        at = chance.choice(places)
        other = chance.choice("123456789".replace(answer[at], ""))
        changed = _replaced(answer, at, at + 1, other)
        if not _stands_in(prompt, changed[number.start() : number.end()]):
            return changed
    return None


def year(subject: Subject, chance: Random) -> str | None:
    """Another year in a citation that the prompt has, whether it has that year elsewhere or not."""
    if (one := _citation(subject, chance)) is None:
        return None
    other = int(one.year) + chance.choice((-7, -4, -3, -2, -1, 1, 2, 3))
    return _replaced(subject.answer, one.end - 4, one.end, str(other))


def author(subject: Subject, chance: Random) -> str | None:
    """Another author in a citation that the prompt has."""
    if (one := _citation(subject, chance)) is None:
        return None
    name = re.match(r"[^\s,]+", subject.answer[one.start : one.end])
    end = one.start + (name.end() if name else 0)
    return _replaced(subject.answer, one.start, end, chance.choice(_AUTHORS))


def path_part(subject: Subject, chance: Random) -> str | None:
    """Another part of a link's path: a sign changed or left out, or another word."""
    parts = [
        (link.start + part.start(), link.start + part.end())
        for link in links_of(subject.answer)
        for part in re.finditer(r"(?<=[\w)]/)[^/\s]*\w", link.text)
    ]
    if not parts:
        return None
    start, end = chance.choice(parts)
    old = subject.answer[start:end]
    at = chance.choice([n for n, sign in enumerate(old) if sign.isalnum()])
    others = "0123456789" if old[at].isdigit() else "abcdefghijklmnopqrstuvwxyz"
    other = chance.choice([sign for sign in others if sign != old[at].lower()])
    new = chance.choice((_replaced(old, at, at + 1, other), _replaced(old, at, at + 1, ""), "tern"))
    return _replaced(subject.answer, start, end, new)


def quoted_word(subject: Subject, chance: Random) -> str | None:
    """Another word for a content word of a quotation."""
    words = [
        (quotation.start + word.start(), quotation.start + word.end())
        for quotation in long_quotations(subject.answer)
        for word in re.finditer(r"\b[A-Za-z]{4,}\b", quotation.text)
        if word[0].lower() not in LITTLE
    ]
    return (
        _replaced(subject.answer, *chance.choice(words), chance.choice(_WORDS)) if words else None
    )


def name(subject: Subject, chance: Random) -> str | None:
    """Another name for one that the prompt holds and the question does not."""
    told, asked = {found.text for found in names.names_of(subject.answer)}, subject.question or ""
    held = sorted(n for n in told if n in subject.ground.text and n not in asked)
    others = [n for n in _NAMES if not names.holds(subject.ground.letters, n)]
    if not held:
        return None
    return re.sub(rf"\b{re.escape(chance.choice(held))}\b", chance.choice(others), subject.answer)


PLANTED: Mapping[str, tuple[str, Planter]] = {
    "a digit": ("numbers", digit),
    "a year": ("references", year),
    "an author": ("references", author),
    "a part of a path": ("links", path_part),
    "a quoted word": ("quotes", quoted_word),
    "a name": ("names", name),
}
"""Kinds of faults, each with the check that should find it."""


def _citation(subject: Subject, chance: Random) -> citations.Citation | None:
    """One of those that the prompt has."""
    found = citations.citations_in(subject.answer)
    cited = [one for one in found if citations.holds(subject.ground.folded, one)]
    return chance.choice(cited) if cited else None


def _stands_in(text: str, number: str) -> bool:
    return bool(re.search(rf"(?<![\d.,]){re.escape(number)}(?!\d|[.,]\d)", text))


def _replaced(text: str, start: int, end: int, by: str) -> str:
    return text[:start] + by + text[end:]
