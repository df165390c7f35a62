"""How many requests may be in flight at an endpoint whose limit nobody knows.

As TCP finds the rate of a link (RFC 5681): twice as many each time while all goes well, fewer at a
refusal, and from then on one more each time that as many as there may be were answered. A refusal
comes at once, and an answer may take a minute: requests that were not refused soon went well.
"""

import math

FIRST = 8.0
"""Requests to begin with: the first answer or refusal may tell the limits of the endpoint."""

SOON_SECONDS = 0.5
"""A refusal comes within this time."""

DECREASE, DECREASE_AT_RATE = 0.7, 0.9
"""What a refusal leaves of the requests in flight: CUBIC's factor (RFC 9438), or less of a decrease
where a known rate holds requests back already."""


class RequestWindow:
    """The most requests in flight at an endpoint, over all replicas; never less than one."""

    def __init__(self) -> None:
        self.size = FIRST
        self.is_reduced = False  # by a refusal, so that it grows slowly
        self._reduced_at = -math.inf
        self._grown_at: float | None = None

    def open(self) -> None:
        """A rate is known that holds requests back; the window does so only after a refusal."""
        if not self.is_reduced:
            self.size = math.inf

    def restart(self) -> None:
        """Begins with one request, at an endpoint that was down."""
        self.size, self.is_reduced, self._grown_at = 1.0, False, math.inf

    def grow(self, now: float) -> None:
        """Doubles in time, unless a request was refused, or none was answered since a restart."""
        if self._grown_at is None:
            self._grown_at = now
        if not self.is_reduced and now - self._grown_at >= SOON_SECONDS:
            self.size, self._grown_at = self.size * 2, now

    def answered(self, requests: int) -> None:
        if self._grown_at == math.inf:
            self._grown_at = None
        self.size += requests / self.size if self.is_reduced else requests

    def refused(self, in_flight: int, sent_at: float, now: float, has_rate: bool = False) -> bool:
        """The endpoint refused one of `in_flight` requests, sent at that time.

        False if it was sent before the last decrease, which has answered for it.
        """
        if sent_at < self._reduced_at:
            return False
        left = DECREASE_AT_RATE if has_rate else DECREASE
        self.size = max(min(self.size, in_flight) * left, 1.0)
        self.is_reduced, self._reduced_at = True, now
        return True
