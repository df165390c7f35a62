"""A dimension of the space that `overnight tune` searches: an option of the engine, its values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from pipeline.engines.tunable import Effect

Settings: TypeAlias = Mapping[str, Any]
"""Engine options that differ from the job's."""


@dataclass(frozen=True, eq=False, slots=True)
class Axis:
    """An option, its present value, others to be tried, and what they may change besides the speed.

    Values in an order are numbers, of which the best has worse ones on both sides.
    """

    option: str
    present: Any
    values: tuple[Any, ...]
    effect: Effect = "none"
    in_order: bool = False

    def value_in(self, settings: Settings) -> Any:
        return settings.get(self.option, self.present)

    def without(self, settings: Settings) -> dict[str, Any]:
        return {name: value for name, value in settings.items() if name != self.option}

    def with_value(self, settings: Settings, value: Any) -> dict[str, Any]:
        """The settings with this value; the present one is that of the job."""
        others = self.without(settings)
        return others if value == self.present else {**others, self.option: value}

    def directions(self, value: Any) -> list[list[Any]]:
        """The other values, in the order in which to try them; a direction ends with a loss."""
        if not self.in_order:
            return [[other] for other in (self.present, *self.values) if other != value]
        ladder = sorted({self.present, *self.values})
        at = ladder.index(value)
        return [ladder[at + 1 :], ladder[:at][::-1]]
