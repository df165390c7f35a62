"""A replica's requests wait for leases, and go to the endpoint that has most room."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import pytest

from pipeline.cluster.endpoint_limits import Demand, Lease, PerMinute, RateLimits
from pipeline.cluster.pacer import EndpointPacer

A, B = "http://a/v1/", "http://b/v1/"


class Coordinator:
    """Grants as real limits do, and keeps what it was asked."""

    def __init__(self, **given: float) -> None:
        self.limits, self.given = RateLimits(), PerMinute(**given)
        self.demands: list[Mapping[str, Demand]] = []
        self.fails = 0

    async def ask(self, demands: Mapping[str, Demand]) -> Mapping[str, Lease]:
        self.demands.append(demands)
        await asyncio.sleep(0)
        if self.fails:
            self.fails -= 1
            return {}
        return self.limits.lease("one", demands, self.given)

    def pacer(self, *addresses: str) -> EndpointPacer:
        return EndpointPacer(addresses, self.ask)


def ten() -> float:
    return 10.0


async def ask(pacer: EndpointPacer, seconds: float = 0.01, **turn) -> str:
    address, tokens = await pacer.turn(ten, **turn)
    await asyncio.sleep(seconds)
    pacer.answered(address, tokens, tokens, {})
    return address


def in_a_loop(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    def run() -> None:
        asyncio.run(asyncio.wait_for(test(), 20))

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


@in_a_loop
async def test_all_requests_go_in_the_end_and_few_messages_do():
    coordinator = Coordinator(requests=1200)
    pacer = coordinator.pacer(A)
    began = asyncio.get_running_loop().time()
    await asyncio.gather(*(ask(pacer) for _ in range(40)))
    assert asyncio.get_running_loop().time() - began == pytest.approx(30 / 20, abs=0.4)
    assert len(coordinator.demands) < 20


@in_a_loop
async def test_endpoints_share_the_requests_by_their_room():
    coordinator = Coordinator()
    pacer = coordinator.pacer(A, B)
    addresses = await asyncio.gather(*(ask(pacer, 0.3) for _ in range(16)))
    assert Counter(addresses) == {A: 8, B: 8}


@in_a_loop
async def test_a_request_that_is_cancelled_while_it_waits_takes_no_place():
    coordinator = Coordinator()
    pacer = coordinator.pacer(A)
    waiting = [asyncio.create_task(ask(pacer, 0.1)) for _ in range(30)]
    await asyncio.sleep(0.05)
    for task in waiting[5:]:
        task.cancel()
    await asyncio.wait(waiting)
    assert sum(not task.cancelled() for task in waiting) == 5
    for _ in range(3):  # cancelled after their turn, which nobody has ended yet
        pacer.failed(A, 10.0)
    assert await asyncio.gather(*(ask(pacer) for _ in range(20))) == [A] * 20


@in_a_loop
async def test_a_refused_request_goes_first_and_none_before_the_pause_is_over():
    coordinator = Coordinator()
    pacer, order = coordinator.pacer(A), []
    loop = asyncio.get_running_loop()
    address, tokens = await pacer.turn(ten)
    pacer.refused(address, tokens, loop.time(), 0.5, {})
    refused_at = loop.time()

    async def go(name: str, again: bool) -> None:
        await ask(pacer, again=again)
        order.append((name, loop.time() - refused_at >= 0.45))

    await asyncio.gather(go("other", False), go("refused", True))
    assert order == [("refused", True), ("other", True)]
    assert coordinator.limits.rate_limited == 1


@in_a_loop
async def test_a_coordinator_that_cannot_be_reached_is_asked_again():
    coordinator = Coordinator()
    coordinator.fails = 2
    assert await ask(coordinator.pacer(A)) == A


@in_a_loop
async def test_what_fails_in_asking_is_raised_where_a_turn_is_waited_for():
    async def broken(_: Mapping[str, Demand]) -> Mapping[str, Lease]:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await EndpointPacer([A], broken).turn(ten)


@in_a_loop
async def test_a_lost_endpoint_is_left_out_and_tried_when_all_others_have_failed():
    coordinator = Coordinator()
    pacer = coordinator.pacer(A, B)
    address, tokens = await pacer.turn(ten, tried={B})
    pacer.failed(address, tokens, is_lost=True)
    await asyncio.sleep(0.2)
    assert await asyncio.gather(*(ask(pacer) for _ in range(12))) == [B] * 12
    assert await ask(pacer, tried={B}) == A
    assert coordinator.limits.waits_for() == "a is down"


@in_a_loop
async def test_tokens_are_settled_with_what_was_spent():
    coordinator = Coordinator(tokens=60_000)
    pacer, expected = coordinator.pacer(A), 500.0
    turns = [await pacer.turn(partial(float, expected)) for _ in range(3)]
    for address, tokens in turns:
        pacer.answered(address, tokens, 100.0, {})
    await asyncio.sleep(1.2)
    assert sum(demands[A].settled for demands in coordinator.demands) == -3 * 400
    assert sum(demands[A].answered for demands in coordinator.demands) == 3


@in_a_loop
async def test_a_turn_that_is_cancelled_as_it_comes_is_nobody_elses_fault():
    """The task that gives turns out may run between a cancellation and the end of its task."""
    coordinator = Coordinator()
    pacer = coordinator.pacer(A)
    await ask(pacer)
    for _ in range(20):
        cancelled, other = (asyncio.create_task(ask(pacer, 0)) for _ in range(2))
        await asyncio.sleep(0)
        cancelled.cancel()
        pacer._send_off()
        assert await other == A
        await asyncio.wait([cancelled])
