"""Holds the requests of a replica back until it has a lease for them, and spreads them over its
endpoints.

One task asks for leases as long as there are requests, for all endpoints in one message: when the
last lease begins, and now and then to report.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import TypeAlias

from pipeline.cluster.endpoint_limits import Demand, Lease, PerMinute

LEAST_SECONDS = 0.05
"""A replica asks no more often than this, however many of its requests are refused."""

UNREACHABLE_SECONDS = 1.0
"""Before it asks again, if the coordinator could not be reached."""

MOST_NAMED = 256
"""Waiting requests that a replica names: more than a lease covers."""

AskForLeases: TypeAlias = Callable[[Mapping[str, Demand]], Awaitable[Mapping[str, Lease]]]
"""Returns a lease for each demand, by the address of the endpoint; none if nobody can say."""


class _Turn:
    """A request that waits."""

    def __init__(self, expected: Callable[[], float], tried: frozenset[str]) -> None:
        self.expected, self.tried = expected, tried
        self.begins: asyncio.Future[tuple[str, float]] = asyncio.get_running_loop().create_future()


class _Endpoint:
    """What a replica knows of an endpoint, and has not reported yet."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.in_flight = self.most_in_flight = 0
        self.leased: float = 0  # requests that may be sent
        self.leased_tokens = 0.0  # taken for these
        self.next: tuple[float, int, float] | None = None  # a lease that begins then
        self.paused_until = self.lost_until = 0.0
        self.ask_at = self.report_at = self._asked_at = 0.0
        self._refused_at = 0.0
        self._learnt = PerMinute()
        self._forget()

    def _forget(self) -> None:
        self.answered = self.refused = 0
        self.settled = 0.0
        self.retry_after: float | None = None
        self.is_lost = False
        self.urgent_at = math.inf

    def may_send(self, now: float) -> bool:
        is_open = self.in_flight < self.most_in_flight and now >= self.paused_until
        return is_open and self.leased >= 1

    def send(self, tokens: float) -> None:
        self.in_flight += 1
        self.leased -= 1
        self.leased_tokens -= tokens

    def ended(self, tokens: float, spent: float) -> None:
        self.in_flight -= 1
        self.settled += spent - tokens

    def refuse(self, sent_at: float, seconds: float | None) -> None:
        self.refused += 1
        self._refused_at = max(self._refused_at, sent_at)
        if seconds is not None:
            self.retry_after = max(self.retry_after or 0.0, seconds)
        self.paused_until = math.inf  # until the coordinator has heard
        self.hurry(self._asked_at + LEAST_SECONDS)

    def lose(self) -> None:
        self.is_lost = True
        self.hurry(self._asked_at + LEAST_SECONDS)

    def learn(self, learnt: PerMinute) -> None:
        said = PerMinute(*(new or old for new, old in zip(learnt, self._learnt, strict=True)))
        if said != self._learnt:
            self.hurry(self._asked_at + LEAST_SECONDS)
        self._learnt = said

    def hurry(self, at: float) -> None:
        """There is something that the coordinator is to hear by then."""
        self.urgent_at = min(self.urgent_at, at)

    def begin(self, now: float) -> None:
        """The lease that was waited for, once its time has come."""
        if self.next and now >= self.next[0]:
            self.leased += self.next[1]
            self.leased_tokens += self.next[2]
            self.next = None

    def has_news(self) -> bool:
        return bool(self.answered or self.refused or self.settled or self.is_lost)

    def lacks(self, waiting: int) -> int:
        """Requests for which a lease is wanted, of those that wait."""
        wanted = min(waiting, max(self.most_in_flight, 1), MOST_NAMED)
        return 0 if self.next else max(wanted - int(min(self.leased, wanted)), 0)

    def due_at(self, waiting: int) -> float:
        """When it is to be asked about next."""
        is_full = self.in_flight >= self.most_in_flight
        asks = waiting and (self.lacks(waiting) or (is_full and not self.next))
        reports = self.in_flight or self.has_news()
        times = self.ask_at if asks else math.inf, self.report_at if reports else math.inf
        return min(self.urgent_at, *times)

    def demand(self, waiting: Sequence[_Turn], now: float) -> Demand:
        """What to say to the coordinator, which is then said."""
        first = min(int(min(self.leased, len(waiting))), len(waiting))
        lacking = waiting[first : first + self.lacks(len(waiting))]
        if not self.leased and self.leased_tokens:  # other requests went than had been named
            self.settled, self.leased_tokens = self.settled - self.leased_tokens, 0.0
        demand = Demand(
            tuple(turn.expected() for turn in lacking),
            self.in_flight,
            self.answered,
            self.settled,
            self.refused,
            now - self._refused_at,
            self.retry_after,
            self.is_lost,
            self._learnt,
        )
        self._forget()
        self._asked_at = now
        return demand

    def take(self, lease: Lease, now: float) -> None:
        self.most_in_flight = lease.in_flight
        self.paused_until = now + lease.pause if lease.pause > 0 else 0.0
        self.lost_until = now + lease.pause if lease.is_lost else 0.0
        self.ask_at = self.report_at = now + lease.again
        if lease.requests is None:
            self.leased, self.leased_tokens = math.inf, 0.0
            return
        if self.leased == math.inf:  # until now no limit was known
            self.leased, self.leased_tokens, self.ask_at = 0, 0.0, now
        if lease.requests:
            self.ask_at = now + lease.seconds
            self.next = self.ask_at, lease.requests, lease.tokens


class EndpointPacer:
    """See `Pacer` of the engines. All of it runs in one event loop."""

    def __init__(
        self,
        addresses: Sequence[str],
        ask: AskForLeases,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._endpoints = {address: _Endpoint(address) for address in addresses}
        self._ask = ask
        self._clock = clock
        self._waiting: deque[_Turn] = deque()
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def turn(
        self, expected: Callable[[], float], tried: Collection[str] = (), again: bool = False
    ) -> tuple[str, float]:
        turn = _Turn(expected, frozenset(tried))
        self._waiting.insert(0 if again else len(self._waiting), turn)
        self._wake()
        try:
            return await turn.begins
        except asyncio.CancelledError:
            if turn.begins.cancelled():
                self._waiting.remove(turn)
            elif not turn.begins.exception():
                self.failed(*turn.begins.result())
            raise

    def answered(
        self, address: str, tokens: float, spent: float, learnt: Mapping[str, float]
    ) -> None:
        endpoint = self._endpoints[address]
        endpoint.ended(tokens, spent)
        endpoint.answered += 1
        endpoint.learn(PerMinute(**learnt))
        self._wake()

    def refused(
        self,
        address: str,
        tokens: float,
        sent_at: float,
        seconds: float | None,
        learnt: Mapping[str, float],
    ) -> None:
        endpoint = self._endpoints[address]
        endpoint.ended(tokens, 0)
        endpoint.learn(PerMinute(**learnt))
        endpoint.refuse(sent_at, seconds)
        self._wake()

    def failed(self, address: str, tokens: float, is_lost: bool = False) -> None:
        endpoint = self._endpoints[address]
        endpoint.ended(tokens, 0)
        if is_lost:
            endpoint.lose()
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        if self._task is None or self._task.done():
            self._changed = asyncio.Event()  # of this loop, if there was another before
            self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        """Goes on while there are requests, or anything to report of them."""
        try:
            while self._waiting or any(e.in_flight or e.has_news() for e in self._known):
                self._changed.clear()
                self._send_off()
                await self._ask_for_leases()
                self._send_off()
                seconds = self._next_at() - self._clock()
                if seconds > 0:
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._changed.wait(), min(seconds, 3600))
        except Exception as error:  # noqa: BLE001  raised where a turn is waited for
            for turn in self._open_turns():
                self._waiting.remove(turn)
                turn.begins.set_exception(error)

    @property
    def _known(self) -> Collection[_Endpoint]:
        return self._endpoints.values()

    async def _ask_for_leases(self) -> None:
        now, waiting = self._clock(), len(self._waiting)
        first = list(islice(self._waiting, 2 * MOST_NAMED))
        due = [endpoint for endpoint in self._known if endpoint.due_at(waiting) <= now]
        demands = {endpoint.address: endpoint.demand(first, now) for endpoint in due}
        if not demands:
            return
        leases, now = await self._ask(demands), self._clock()
        for endpoint in due:
            if endpoint.address in leases:
                endpoint.take(leases[endpoint.address], now)
            else:
                endpoint.hurry(now + UNREACHABLE_SECONDS)

    def _send_off(self) -> None:
        """Sends what may be sent, each request to the endpoint with most room for it."""
        now = self._clock()
        for endpoint in self._known:
            endpoint.begin(now)
        while self._waiting:
            for endpoint in sorted(self._known, key=_load):
                if turn := self._first_for(endpoint, now):
                    self._waiting.remove(turn)
                    endpoint.send(tokens := turn.expected())
                    turn.begins.set_result((endpoint.address, tokens))
                    break
            else:
                return

    def _first_for(self, endpoint: _Endpoint, now: float) -> _Turn | None:
        """The first request that an endpoint may be sent. One that all others have failed goes to
        an endpoint that is left out, too: a request fails only if all endpoints are down.
        """
        if endpoint.lost_until > now:
            return next((t for t in self._open_turns() if self._has_no_other(t, now)), None)
        if not endpoint.may_send(now):
            return None
        turns = self._open_turns()
        return next((turn for turn in turns if endpoint.address not in turn.tried), None)

    def _open_turns(self) -> list[_Turn]:
        """Those that wait, without those that are cancelled and do not know it yet."""
        return [turn for turn in self._waiting if not turn.begins.done()]

    def _has_no_other(self, turn: _Turn, now: float) -> bool:
        untried = [e for e in self._known if e.address not in turn.tried]
        return bool(turn.tried) and all(endpoint.lost_until > now for endpoint in untried)

    def _next_at(self) -> float:
        """When there is something to do, unless something happens before."""
        now, waiting = self._clock(), len(self._waiting)
        times = [math.inf]
        for endpoint in self._known:
            times.append(max(endpoint.due_at(waiting), now + LEAST_SECONDS))
            if waiting and endpoint.next:
                times.append(endpoint.next[0])
            if waiting and endpoint.paused_until > now:
                times.append(endpoint.paused_until)
        return min(times)


def _load(endpoint: _Endpoint) -> float:
    """Requests in flight, relative to the most that there may be."""
    return endpoint.in_flight / max(endpoint.most_in_flight, 1)
