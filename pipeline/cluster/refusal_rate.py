"""The rate that an endpoint admits, told from its refusals alone.

An endpoint that limits by a token bucket refuses when the bucket is empty. So what it admitted from
one refusal to the next is what came in meanwhile, which gives its rate. Up to the first refusal it
admitted what the bucket held, too: that gives more than its rate, to begin with.
"""

from collections import deque

LEAST_SECONDS, LEAST_ADMITTED = 0.5, 10
"""Refusals closer to each other than this tell nothing."""

GROWTH = 0.005
"""Part of the rate that is added each second until the next refusal, in case there is more."""

RECENT_SECONDS = 3.0
"""A time with little to send tells nothing of the limit; what was refused just now does."""

DECREASE = 0.7


class RefusalRate:
    """Estimates requests a minute. Times are seconds of one clock."""

    def __init__(self) -> None:
        self._refused: tuple[float, int] | None = None  # the last one: when, admitted by then
        self._rate: float | None = None  # a second, at that time
        self._recent: deque[tuple[float, int]] = deque()

    def admitted(self, total: int, now: float) -> None:
        """So many requests were admitted until now."""
        if self._refused is None:
            self._refused = now, 0
        self._recent.append((now, total))
        while len(self._recent) > 2 and self._recent[1][0] < now - RECENT_SECONDS:
            self._recent.popleft()

    def refused(self, total: int, now: float) -> None:
        """The endpoint refused one, after it had admitted so many."""
        at, before = self._refused or (now, 0)
        seconds, admitted = now - at, total - before
        if seconds >= LEAST_SECONDS and admitted >= LEAST_ADMITTED:
            self._rate = max(admitted / seconds, DECREASE * self._recent_rate(total, now))
            self._refused = now, total

    def per_minute(self, now: float) -> float | None:
        """None until there was a refusal."""
        if self._refused is None or self._rate is None:
            return None
        return self._rate * 60 * (1 + GROWTH * (now - self._refused[0]))

    def _recent_rate(self, total: int, now: float) -> float:
        at, before = self._recent[0] if self._recent else (now, total)
        return (total - before) / max(now - at, LEAST_SECONDS)
