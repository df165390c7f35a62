"""What is expected of a run, in seconds or in money, and how far off that may be."""

from typing import Literal, NamedTuple, TypeAlias

Outlook: TypeAlias = Literal["yes", "likely", "unlikely", "no"]
"""Whether a limit will do: `yes` if it is above high, `no` if it is below low."""


class Interval(NamedTuple):
    """Nine times of ten it lies between `low` and `high`."""

    low: float
    expected: float
    high: float

    def times(self, factor: float) -> "Interval":
        return Interval(*(value * factor for value in self))

    def plus(self, other: "Interval") -> "Interval":
        """A sum of parts that may all be low, or high, together."""
        return Interval(*(a + b for a, b in zip(self, other, strict=True)))

    def within(self, limit: float) -> Outlook:
        if self.high <= limit:
            return "yes"
        if self.low > limit:
            return "no"
        return "likely" if self.expected <= limit else "unlikely"
