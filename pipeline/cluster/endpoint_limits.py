"""The limits of endpoints, kept once for all replicas of a run.

A replica says how many requests wait and what became of those it has sent; it gets a lease: so many
requests, after so many seconds, and how many it may have in flight. A lease covers about a quarter
of a second, more with many replicas, so that messages stay few; a replica never waits for an
answer of the coordinator that is not ready. A lease that is lost with its replica is spent.
"""

import time
from collections.abc import Callable, Hashable, Mapping
from itertools import accumulate, islice
from typing import Literal, NamedTuple, TypeAlias
from urllib.parse import urlsplit

from pipeline.cluster.refusal_rate import RefusalRate
from pipeline.cluster.request_window import RequestWindow
from pipeline.cluster.token_bucket import TokenBucket

LEASE_SECONDS = 0.25
"""A lease covers a replica's share of the requests of this time."""

REPLICAS_A_SECOND = 500
"""Messages that the coordinator is sent a second, at most, however many replicas there are."""

REPORT_SECONDS = 1.0
"""A replica at work reports this often where the rate is known; where not, with each lease."""

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 60.0
"""After a refusal that names no time; twice as long each time, until a request is answered."""

LOST_SECONDS = 10.0
"""An endpoint that cannot be reached is left out for so long, then tried with one request."""

FORGET_SECONDS = 5.0
"""A replica counts so long after it was to be heard from."""

Unit: TypeAlias = Literal["requests", "tokens"]

UNITS: tuple[Unit, ...] = "requests", "tokens"


class PerMinute(NamedTuple):
    """Limits of an endpoint; None where there is none, or none is known."""

    requests: float | None = None
    tokens: float | None = None


class Demand(NamedTuple):
    """What a replica wants of an endpoint, and what became of its requests since it last did."""

    waiting: tuple[float, ...] = ()  # the tokens of each request, as estimated, in their order
    in_flight: int = 0
    answered: int = 0
    settled: float = 0.0  # tokens spent beyond those leased; negative if fewer
    refused: int = 0  # with 429, or 503 and a time to wait
    refused_age: float = 0.0  # seconds since the newest of these was sent
    retry_after: float | None = None  # seconds that the endpoint asks for
    is_lost: bool = False
    learnt: PerMinute = PerMinute()  # what the endpoint says of its limits


class Lease(NamedTuple):
    """Times are seconds from now on."""

    requests: int | None  # None: as many as there may be in flight
    tokens: float  # that are taken for them
    seconds: float  # until they may be sent
    in_flight: int  # the most of this replica
    pause: float  # until any request may be sent
    again: float  # until the replica is to report
    is_lost: bool = False


class EndpointLimits:
    """The limits of one endpoint: those that the job gives, and those that it says or shows."""

    def __init__(self, address: str, given: PerMinute, now: float) -> None:
        self.host = urlsplit(address).netloc.rpartition("@")[2] or address
        self.rate_limited = 0
        self._given = given
        self._buckets: dict[Unit, TokenBucket] = {}
        self._window = RequestWindow()
        self._from_refusals = RefusalRate()
        self._answered = 0
        self._paused_until = self._lost_until = 0.0
        self._pauses = 0  # one after the other, without an answer between
        self._binding: tuple[str, float] = "", 0.0  # what was waited for, and until when
        self._in_flight: dict[Hashable, int] = {}  # in the order in which they get the odd request
        self._heard: dict[Hashable, float] = {}  # until when each replica counts
        self._looked_at = now
        self._learnt = PerMinute()
        self._limit(now)

    def lease(self, replica: Hashable, demand: Demand, now: float) -> Lease:
        """Hears a replica, and says what it may do."""
        self._hear(replica, demand, now)
        if (lost := self._lost_until - now) > 0:
            return Lease(0, 0.0, lost, 0, lost, lost, is_lost=True)
        most, again = self._share(replica), self._report_seconds()
        pause = max(self._paused_until - now, 0.0)
        if not self._buckets:
            self._note_window(demand, most, now)
            return Lease(None, 0.0, pause, most, pause, again)
        if not demand.waiting or not most:
            return Lease(0, 0.0, pause, most, pause, again)
        requests = self._count(demand.waiting[:most])
        tokens = sum(demand.waiting[:requests])
        seconds = max(self._take(requests, tokens, now), pause)
        self._heard[replica] = now + max(seconds, again) + FORGET_SECONDS
        if demand.in_flight >= most:
            self._note_window(demand, most, now)
        return Lease(requests, tokens, seconds, most, pause, again)

    def waits_for(self, now: float) -> str:
        """What holds requests back now, in a few words; empty if nothing does."""
        if self._lost_until > now:
            return f"{self.host} is down"
        if self._paused_until >= now + 1 and self._heard:
            return f"waits {self._paused_until - now:.0f} s after a 429 of {self.host}"
        what, until = self._binding
        return f"waits for {what} at {self.host}" if until > now else ""

    def _hear(self, replica: Hashable, demand: Demand, now: float) -> None:
        self._list(replica, demand, now)
        self._answered += demand.answered
        self._from_refusals.admitted(self._admitted, now)
        is_news = demand.learnt not in (PerMinute(), self._learnt)
        if is_news:
            self._learnt = demand.learnt
        if demand.refused:
            self.rate_limited += demand.refused
            self._refused(demand, now)
        self._limit(now)
        if demand.refused or is_news:  # what was sent until now has used the rate up
            for bucket in self._buckets.values():
                bucket.drain(now)
        if tokens := self._buckets.get("tokens"):
            tokens.settle(demand.settled, now)
        if demand.answered:
            self._pauses = 0
            self._window.answered(demand.answered)
            if self._buckets:
                self._window.open()
        if demand.waiting or demand.in_flight:
            self._window.grow(now)
        if demand.is_lost:
            self._lost_until = now + LOST_SECONDS
            self._window.restart()

    def _list(self, replica: Hashable, demand: Demand, now: float) -> None:
        """Counts a replica as long as it has requests; the odd one goes to another after it."""
        if demand.answered or not (demand.waiting or demand.in_flight):
            self._in_flight.pop(replica, None)
        if demand.waiting or demand.in_flight:
            self._in_flight[replica] = demand.in_flight
            self._heard[replica] = now + self._report_seconds() + FORGET_SECONDS
        else:
            self._heard.pop(replica, None)
        if now - self._looked_at >= REPORT_SECONDS:
            self._looked_at = now
            for silent in [known for known, until in self._heard.items() if until < now]:
                del self._heard[silent]
                self._in_flight.pop(silent, None)

    @property
    def _admitted(self) -> int:
        return self._answered + sum(self._in_flight.values())

    def _limit(self, now: float) -> None:
        """Limits to the lowest of what is given, what is learnt, and what refusals tell: some
        endpoints count the tokens that an answer may have, not those that it has.
        """
        limits = {
            unit: min(limit for limit in (given, learnt) if limit is not None)
            for unit, given, learnt in zip(UNITS, self._given, self._learnt, strict=True)
            if given is not None or learnt is not None
        }
        if (told := self._from_refusals.per_minute(now)) is not None:
            limits["requests"] = min(limits.get("requests", told), told)
        for unit, limit in limits.items():
            self._buckets.setdefault(unit, TokenBucket(limit, now)).change(limit, now)
        for unit in self._buckets.keys() - limits.keys():
            del self._buckets[unit]

    def _refused(self, demand: Demand, now: float) -> None:
        in_flight = sum(self._in_flight.values()) + demand.refused
        if self._window.refused(in_flight, now - demand.refused_age, now, bool(self._buckets)):
            self._pauses += 1
            self._from_refusals.refused(self._admitted, now)
        pause = demand.retry_after
        if pause is None:
            doubled = FIRST_PAUSE_SECONDS * 2.0 ** min(self._pauses - 1, 16)
            pause = min(doubled, LONGEST_PAUSE_SECONDS)
        self._paused_until = max(self._paused_until, now + pause)

    def _share(self, replica: Hashable) -> int:
        """Requests that a replica may have in flight: an even part of the window, and one of those
        that are left over if it is its turn.
        """
        most = int(min(self._window.size, 10.0**9))
        each, odd = divmod(most, max(len(self._in_flight), 1))
        return each + (replica in islice(self._in_flight, odd))

    def _count(self, waiting: tuple[float, ...]) -> int:
        """How many of the requests a lease covers; one at least."""
        part = self._lease_seconds() / max(len(self._in_flight), 1)
        count = float(len(waiting))
        if requests := self._buckets.get("requests"):
            count = min(count, requests.per_second * part)
        if tokens := self._buckets.get("tokens"):
            most = tokens.per_second * part
            count = min(count, sum(total <= most for total in accumulate(waiting)))
        return max(int(count), 1)

    def _take(self, requests: int, tokens: float, now: float) -> float:
        """Takes from the buckets; returns the seconds to wait, and notes for what."""
        amounts: dict[Unit, float] = {"requests": requests, "tokens": tokens}
        waits = [(b.take(amounts[u], now), u, b.per_minute) for u, b in self._buckets.items()]
        seconds, unit, limit = max(waits)
        if seconds > 0:
            self._binding = f"{limit:,.0f} {unit} a minute", now + seconds + REPORT_SECONDS
        return seconds

    def _note_window(self, demand: Demand, most: int, now: float) -> None:
        if self._window.is_reduced and demand.waiting and demand.in_flight >= most:
            what = f"{self._window.size:,.0f} requests in flight"
            self._binding = what, now + 2 * self._report_seconds()

    def _lease_seconds(self) -> float:
        return max(LEASE_SECONDS, len(self._in_flight) / REPLICAS_A_SECOND)

    def _report_seconds(self) -> float:
        return max(REPORT_SECONDS if self._buckets else 0.0, self._lease_seconds())


class RateLimits:
    """The limits of all endpoints that a run asks."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._endpoints: dict[str, EndpointLimits] = {}

    def lease(
        self, replica: Hashable, demands: Mapping[str, Demand], given: PerMinute
    ) -> dict[str, Lease]:
        """A lease for each demand, by the address of the endpoint."""
        now = self._clock()
        return {
            address: self._limits(address, given, now).lease(replica, demand, now)
            for address, demand in demands.items()
        }

    @property
    def rate_limited(self) -> int:
        """Requests that endpoints have refused so far."""
        return sum(limits.rate_limited for limits in self._endpoints.values())

    def waits_for(self) -> str:
        """The limit that binds: what the run waits for at its endpoints, if it does at all."""
        now = self._clock()
        said = [limits.waits_for(now) for limits in self._endpoints.values()]
        down = [words for words in said if words.endswith("is down")]
        return next(iter(down or said), "") if down or all(said) else ""

    def _limits(self, address: str, given: PerMinute, now: float) -> EndpointLimits:
        if address not in self._endpoints:
            self._endpoints[address] = EndpointLimits(address, given, now)
        return self._endpoints[address]
