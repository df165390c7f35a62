"""A token bucket that is spent in advance: who takes is told how long to wait, and asks only once.

There are libraries for this (aiolimiter, limits, pyrate-limiter). They are for one process, or keep
their state in a database that all processes poll; none takes back what an estimate was too much.
"""

BURST_SECONDS = 0.5
"""What a bucket holds at most, in seconds of its rate. Endpoints whose limit is a minute's enforce
it over a second, too: a burst above that would be refused."""


class TokenBucket:
    """Units that come in evenly, `per_minute`; times are seconds of one clock.

    What is taken from time a to time b is at most (b - a) at that rate and one full bucket.
    """

    def __init__(self, per_minute: float, now: float) -> None:
        self.per_minute = per_minute
        self._level = self._capacity
        self._at = now

    @property
    def per_second(self) -> float:
        return self.per_minute / 60

    def take(self, units: float, now: float) -> float:
        """Takes units, which may be used after the seconds that this returns.

        More than the bucket holds are waited for until they have come in.
        """
        self._fill(now)
        self._level -= units
        return max(-self._level, 0.0) / self.per_second

    def settle(self, units: float, now: float) -> None:
        """Takes units that are used already; a negative number gives back what was not used."""
        self._fill(now)
        self._level = min(self._level - units, self._capacity)

    def drain(self, now: float) -> None:
        """Holds nothing from now on; what is owed stays owed."""
        self._fill(now)
        self._level = min(self._level, 0.0)

    def change(self, per_minute: float, now: float) -> None:
        """Has another rate from now on; what was taken before stays taken."""
        self._fill(now)
        self.per_minute = per_minute
        self._level = min(self._level, self._capacity)

    @property
    def _capacity(self) -> float:
        return max(self.per_second * BURST_SECONDS, 1.0)

    def _fill(self, now: float) -> None:
        came_in = max(now - self._at, 0.0) * self.per_second
        self._level = min(self._level + came_in, self._capacity)
        self._at = now
