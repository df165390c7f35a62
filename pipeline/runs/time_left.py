"""How long a run still takes, as a range: from how evenly it has answered in the last minutes."""

from collections import deque
from math import sqrt
from statistics import mean, stdev
from typing import NamedTuple

from pipeline.runs.interval import Interval

SPREAD_SECONDS, INTERVAL_SECONDS = 600.0, 15.0
"""Of the last minutes, the rates of so long intervals are compared."""

FEWEST_INTERVALS = 4

DEVIATIONS = 1.65
"""Of the mean rate to either side, within which nine of ten lie."""

SLOWEST_SHARE = 0.2
"""Of the mean rate; a run is not expected to become slower than that."""


class RateSpread(NamedTuple):
    """The rates of a number of intervals: their mean in records per second, and how far they
    differ, as a share of it.
    """

    rate: float
    deviation: float
    intervals: int

    def time_for(self, records: float) -> Interval:
        """Seconds. The mean of many intervals is nearer to that of others, measured and to come."""
        seconds = records / self.rate
        more = max(seconds / INTERVAL_SECONDS, 1.0)
        off = DEVIATIONS * self.deviation * sqrt(1 / self.intervals + 1 / more)
        return Interval(seconds / (1 + off), seconds, seconds / max(1 - off, SLOWEST_SHARE))


class SpreadWindow:
    """The spread of a run's rate of answering over the last minutes."""

    def __init__(self) -> None:
        most = int(SPREAD_SECONDS / INTERVAL_SECONDS)
        self._rates: deque[float] = deque(maxlen=most)
        self._last: tuple[float, int] | None = None  # when the last interval ended, and with what

    def add(self, done: int, now: float) -> None:
        """Takes the records that engines have finished by `now`, seconds of a monotonic clock, from
        the moment when they can answer.
        """
        if self._last is None:
            self._last = now, done
        since, before = self._last
        if (seconds := now - since) >= INTERVAL_SECONDS:
            self._rates.append((done - before) / seconds)
            self._last = now, done

    @property
    def spread(self) -> RateSpread | None:
        """None while too little is known."""
        if len(self._rates) < FEWEST_INTERVALS or not (average := mean(self._rates)):
            return None
        return RateSpread(average, stdev(self._rates) / average, len(self._rates))
