"""The limits of endpoints in simulated time: never passed, and everybody gets a turn."""

import heapq
from collections import Counter
from dataclasses import dataclass, field
from itertools import accumulate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.cluster.endpoint_limits import (
    FIRST_PAUSE_SECONDS,
    LOST_SECONDS,
    Demand,
    EndpointLimits,
    Lease,
    PerMinute,
    RateLimits,
)
from pipeline.cluster.refusal_rate import RefusalRate
from pipeline.cluster.request_window import FIRST
from pipeline.cluster.token_bucket import BURST_SECONDS, TokenBucket

ADDRESS = "https://someone@api.example.org/v1/"

takes = st.lists(st.tuples(st.floats(0, 3), st.integers(1, 50)), min_size=1, max_size=60)


@settings(max_examples=200, deadline=None)
@given(takes=takes, per_minute=st.floats(10, 10_000))
def test_no_window_of_time_has_more_than_the_rate_and_one_bucket(takes, per_minute):
    """Whoever takes more than a bucket holds waits for it: what one take has may come on top."""
    bucket, now, used = TokenBucket(per_minute, 0.0), 0.0, []
    for pause, units in takes:
        now += pause
        used.append((now + bucket.take(units, now), units))
    used.sort()
    full = max(per_minute / 60 * BURST_SECONDS, 1.0)
    sums = [0, *accumulate(units for _, units in used)]
    for first, (begin, units) in enumerate(used):
        for last in range(first, len(used)):
            came_in = (used[last][0] - begin) * per_minute / 60
            most = max(full, units) + came_in
            assert sums[last + 1] - sums[first] <= most + 1e-6 * most


@settings(max_examples=100, deadline=None)
@given(takes=takes, per_minute=st.floats(10, 10_000))
def test_nobody_waits_longer_than_all_units_take_to_come_in(takes, per_minute):
    bucket, now, total = TokenBucket(per_minute, 0.0), 0.0, 0
    for pause, units in takes:
        now, total = now + pause, total + units
        assert bucket.take(units, now) <= total / (per_minute / 60) + 1e-6


def test_what_an_estimate_was_too_much_is_given_back_and_no_more_than_a_bucket_is_held():
    bucket = TokenBucket(600, 0.0)
    assert bucket.take(25, 0.0) == pytest.approx(2.0)
    bucket.settle(-15, 0.0)
    assert bucket.take(0, 0.0) == pytest.approx(0.5)
    bucket.settle(-1000, 0.0)
    assert bucket.take(10, 100.0) == pytest.approx(0.5)


@dataclass
class Fleet:
    """Replicas that always have requests, against limits in simulated time."""

    replicas: int
    given: PerMinute
    tokens: float = 100.0
    seconds: float = 1.0  # of an answer
    sent: list[float] = field(default_factory=list)
    by_replica: Counter[int] = field(default_factory=Counter)
    messages: int = 0

    def run(self, until: float) -> "Fleet":
        limits = EndpointLimits(ADDRESS, self.given, 0.0)
        events = [(0.0, replica, 0) for replica in range(self.replicas)]  # or answers that are due
        in_flight: Counter[int] = Counter()
        answered: Counter[int] = Counter()
        while events[0][0] < until:
            now, replica, done = heapq.heappop(events)
            in_flight[replica] -= done
            answered[replica] += done
            if done:
                continue
            demand = Demand((self.tokens,) * 64, in_flight[replica], answered.pop(replica, 0))
            lease = limits.lease(replica, demand, now)
            self.messages += 1
            count, at = lease.requests or 0, now + lease.seconds
            heapq.heappush(events, (max(at, now + (0.01 if count else lease.again)), replica, 0))
            if count:
                self.sent += [at] * count
                self.by_replica[replica] += count
                in_flight[replica] += count
                heapq.heappush(events, (at + self.seconds, replica, count))
        return self


@pytest.mark.parametrize(("replicas", "per_minute"), [(2, 1200), (2, 30), (40, 600), (1000, 6000)])
def test_replicas_together_use_the_limit_and_never_more(replicas, per_minute):
    seconds = 60.0
    fleet = Fleet(replicas, PerMinute(requests=per_minute)).run(seconds)
    sent = sum(at <= seconds for at in fleet.sent)
    burst = max(per_minute / 60 * BURST_SECONDS, 1)
    assert 0.97 * per_minute <= sent <= per_minute + burst
    assert fleet.messages < 2.2 * min(len(fleet.sent), 2000 * seconds) + 3 * replicas


def test_of_two_limits_the_one_that_is_reached_first_holds():
    fleet = Fleet(2, PerMinute(requests=1200, tokens=60_000)).run(60.0)
    assert sum(at <= 60 for at in fleet.sent) == pytest.approx(600, rel=0.03)


def test_a_thousand_replicas_have_a_turn_each():
    """There are 100 a second; for two seconds the first few are alone."""
    fleet = Fleet(1000, PerMinute(requests=6000)).run(12.0)
    assert len(fleet.by_replica) == 1000


def lease(limits: EndpointLimits, now: float, replica: str = "one", **demand) -> Lease:
    return limits.lease(replica, Demand(**demand), now)


def unlimited() -> EndpointLimits:
    return EndpointLimits(ADDRESS, PerMinute(), 0.0)


def test_while_nothing_is_known_few_requests_go_and_twice_as_many_where_none_was_refused():
    limits = unlimited()
    assert lease(limits, 0, waiting=(1,) * 9)[:1] == (None,)
    assert lease(limits, 0, "other", waiting=(1,) * 9).in_flight == FIRST / 2
    assert lease(limits, 0, waiting=(1,) * 9).in_flight == FIRST / 2
    assert lease(limits, 0.2, waiting=(1,) * 9, answered=8).in_flight == FIRST
    assert lease(limits, 0.6, waiting=(1,) * 9).in_flight == 2 * FIRST
    assert lease(limits, 1.2, waiting=(1,) * 9, refused=1).in_flight < FIRST
    assert lease(limits, 9.0, waiting=(1,) * 9).in_flight < FIRST


def test_the_lower_one_of_what_is_given_and_what_is_learnt_holds():
    for set_, learnt, expected in ((1200, 600, 600), (600, 1200, 600), (None, 600, 600)):
        limits = EndpointLimits(ADDRESS, PerMinute(requests=set_), 0.0)
        lease(limits, 0, answered=1, learnt=PerMinute(requests=learnt))
        for _ in range(80):
            wait = lease(limits, 0, waiting=(1.0,) * 20).seconds
        assert wait == pytest.approx(80 * 2 / (expected / 60), rel=0.2)
        assert limits.waits_for(0) == "waits for 600 requests a minute at api.example.org"


@pytest.mark.parametrize("before", [PerMinute(), PerMinute(requests=1200)])
@pytest.mark.parametrize("learnt", [PerMinute(requests=600), PerMinute(tokens=6000)])
def test_what_was_sent_before_a_limit_was_learnt_counts(before, learnt):
    """Else another burst would go to an endpoint that has just had one."""
    limits = EndpointLimits(ADDRESS, before, 0.0)
    lease(limits, 0, waiting=(10.0,) * 9)
    told = lease(limits, 0.4, waiting=(10.0,) * 9, in_flight=4, answered=4, learnt=learnt)
    assert told.seconds >= told.requests / 10 - 1e-9
    later = lease(limits, 9, waiting=(10.0,) * 9, answered=1, learnt=learnt)
    assert later.seconds == 0, "and what comes in from then on is there for whoever asks next"


def test_a_refusal_lets_all_wait_and_fewer_be_in_flight():
    limits = unlimited()
    for replica in ("one", "other"):
        lease(limits, 0, replica, waiting=(1.0,) * 9, in_flight=10, answered=100)
    refused = {"waiting": (1.0,) * 9, "in_flight": 9, "refused": 1, "refused_age": 0.1}
    first = lease(limits, 2, **refused, retry_after=7.0)
    assert first.pause == 7
    assert limits.waits_for(2) == "waits 7 s after a 429 of api.example.org"
    other = lease(limits, 3, "other", waiting=(1.0,) * 9, in_flight=9)
    assert (other.pause, other.in_flight) == (6, int(20 * 0.7) / 2)
    again = lease(limits, 3.5, **{**refused, "refused_age": 2.0})
    assert again.in_flight == 7, "it was sent before the decrease"
    assert limits.rate_limited == 2


def test_pauses_double_until_a_request_is_answered():
    limits, pauses = unlimited(), []
    for now in range(0, 500, 100):
        refused = lease(limits, now, waiting=(1.0,), refused=1)
        pauses.append(refused.pause)
    assert pauses == [FIRST_PAUSE_SECONDS * 2**n for n in range(5)]
    lease(limits, 600, waiting=(1.0,), answered=1)
    assert lease(limits, 700, waiting=(1.0,), refused=1).pause == FIRST_PAUSE_SECONDS


def test_a_lost_endpoint_is_left_out_and_then_tried_with_one_request():
    limits = unlimited()
    assert lease(limits, 0, waiting=(1.0,) * 9, is_lost=True).is_lost
    assert lease(limits, 1, "other", waiting=(1.0,) * 9).pause == LOST_SECONDS - 1
    assert limits.waits_for(1) == "api.example.org is down"
    back = [lease(limits, LOST_SECONDS, name, waiting=(1.0,) * 9) for name in ("one", "other")]
    assert sorted(lease.in_flight for lease in back) == [0, 1]


def test_with_fewer_requests_than_replicas_each_has_its_turn():
    limits, turns = unlimited(), Counter()
    for replica in range(20):
        limits.lease(replica, Demand((1.0,)), 0.0)
    limits.lease(0, Demand((1.0,), is_lost=True), 0.0)
    for second in range(41):
        now = LOST_SECONDS + second * 0.1
        limits._window.restart()
        leases = {n: limits.lease(n, Demand((1.0,)), now).in_flight for n in range(20)}
        for replica in (n for n in leases if second and leases[n]):
            turns[replica] += 1
            limits.lease(replica, Demand((1.0,), answered=1), now)
    assert turns == dict.fromkeys(range(20), 2)


def test_a_replica_that_is_gone_leaves_its_share_to_the_others():
    limits = unlimited()
    for replica in ("one", "other"):
        lease(limits, 0, replica, waiting=(1.0,) * 9)
    assert lease(limits, 60, waiting=(1.0,) * 9).in_flight == 2 * FIRST


def test_the_rate_is_told_from_refusals():
    """A bucket of 30 that fills at 20 a second is asked for 40, and is empty every now and then."""
    rate, level, total, now, said = RefusalRate(), 30.0, 0, 0.0, []
    while now < 20:
        now += 1 / 40
        level = min(level + 20 / 40, 30.0)
        if level >= 1:
            level, total = level - 1, total + 1
            rate.admitted(total, now)
        elif not said or now - said[-1][0] > 1:
            rate.refused(total, now)
            said.append((now, rate.per_minute(now)))
            now, level = now + 0.5, level + 10
    assert said[0][1] > 1300
    assert [per_minute for _, per_minute in said[2:]] == pytest.approx([1200] * len(said[2:]), 0.05)
    assert rate.per_minute(said[-1][0] + 10) == pytest.approx(said[-1][1] * 1.05)


def test_a_run_names_what_all_its_endpoints_wait_for():
    now = [0.0]
    limits = RateLimits(lambda: now[0])
    busy = Demand((1.0,) * 20)
    for _ in range(20):
        limits.lease("one", {"http://a:1/v1": busy}, PerMinute(requests=600))
    assert limits.waits_for() == "waits for 600 requests a minute at a:1"
    limits.lease("one", {"http://b:1/v1": Demand(in_flight=1)}, PerMinute(requests=600))
    assert limits.waits_for() == ""
    now[0] = 1000.0
    limits.lease("one", {"http://b:1/v1": Demand(is_lost=True)}, PerMinute(requests=600))
    assert limits.waits_for() == "b:1 is down"
