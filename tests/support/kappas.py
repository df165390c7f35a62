"""κ by its definition, in exact fractions: what the pipeline's figures are compared with."""

from collections import Counter
from collections.abc import Hashable, Sequence
from fractions import Fraction


def cohen(pairs: Sequence[tuple[Hashable, Hashable]]) -> Fraction | None:
    """Cohen's κ of what two raters say; None where it is not defined."""
    if not pairs:
        return None
    n = len(pairs)
    one, other = Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    by_chance = sum(Fraction(one[word] * other[word], n * n) for word in one)
    return _kappa(Fraction(sum(a == b for a, b in pairs), n), by_chance)


def fleiss(things: Sequence[Sequence[Hashable]]) -> Fraction | None:
    """Fleiss' κ of what all raters say of each thing; None where it is not defined."""
    if not things:
        return None
    raters = len(things[0])
    said = Counter(word for thing in things for word in thing)
    agreeing = sum(
        Fraction(sum(n * (n - 1) for n in Counter(thing).values()), raters * (raters - 1))
        for thing in things
    )
    by_chance = sum(Fraction(n, len(things) * raters) ** 2 for n in said.values())
    return _kappa(Fraction(agreeing, len(things)), by_chance)


def _kappa(observed: Fraction, by_chance: Fraction) -> Fraction | None:
    return None if by_chance == 1 else (observed - by_chance) / (1 - by_chance)
