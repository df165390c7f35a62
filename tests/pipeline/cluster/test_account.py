"""The account of a budget grants what there is money for, and no more."""

import random

import pytest

from pipeline.cluster.account import MARGIN, MEASURED_PROMPTS, Account, Terms
from pipeline.cluster.counters import EngineCounts

MOST = 3.0
"""What a prompt reserves before anything is known of its cost."""


class Replica:
    """Reserves for batches and settles prompts, and keeps its counts."""

    def __init__(self, account: Account, name: str = "a") -> None:
        self.account, self.name, self.counts = account, name, EngineCounts()

    def reserve(self, prompts: int, most: float = MOST) -> int | None:
        granted = self.account.reserve(self.name, self.counts, [most] * prompts)
        if granted:
            more = EngineCounts(reserved_prompts=granted, reserved=granted * most)
            self.counts = self.counts.plus(more)
        return granted

    def settle(self, cost: float, most: float = MOST) -> None:
        more = EngineCounts(settled_prompts=1, settled=most, token_cost=cost)
        self.counts = self.counts.plus(more)
        self.account.settle(self.name, self.counts)


def test_a_batch_gets_money_for_as_many_prompts_as_there_is():
    replica = Replica(Account(Terms(budget=10.0)))
    assert replica.reserve(2) == 2
    assert replica.reserve(5) == 1
    assert replica.reserve(5) is None  # until it is known what those three cost
    replica.settle(1.0)
    assert replica.reserve(5) == 1
    assert replica.account.spending.reserved == 9.0


def test_what_prompts_have_cost_says_what_the_next_ones_reserve():
    replica = Replica(Account(Terms(budget=1000.0)))
    replica.reserve(MEASURED_PROMPTS)
    for _ in range(MEASURED_PROMPTS):
        replica.settle(1.0)
    left = 1000 - MEASURED_PROMPTS
    assert replica.reserve(2000) == left // MARGIN


@pytest.mark.parametrize("attempts", [1, 2, 3, 5])
@pytest.mark.parametrize("batch", [1, 7, 50])
def test_prompts_that_all_take_every_attempt_pass_no_budget_before_one_is_measured(attempts, batch):
    most = 2.0**attempts
    replica = Replica(Account(Terms(budget=10 * MOST, most_attempts=most)))
    begun = 0
    while granted := replica.reserve(batch):
        begun += granted
    for _ in range(begun):
        replica.settle(MOST * (most - 1))  # 1 + 2 + 4 + … times the first
    assert begun == max(int(10 / most), 1)
    assert replica.account.spending.total <= max(10 * MOST, MOST * most)


def test_the_last_prompt_may_begin_although_it_may_cost_more_than_is_left():
    replica = Replica(Account(Terms(budget=10.0, earlier=8.0)))
    assert replica.reserve(4) == 1
    replica.settle(2.5)
    assert replica.reserve(4) == 0
    assert replica.account.spending.is_over
    assert replica.account.spending.total == 10.5


def test_what_a_lost_replica_had_reserved_counts_as_spent():
    account = Account(Terms(budget=10.0))
    lost, other = Replica(account, "lost"), Replica(account, "other")
    assert lost.reserve(3) == 3
    assert other.reserve(1) is None
    account.lose(["lost"])
    assert (account.spending.cut_off, account.spending.reserved) == (9.0, 0.0)
    assert other.reserve(1) == 1
    other.settle(3.0)
    assert other.reserve(1) == 0
    account.lose([])  # it was merely silent
    assert account.spending.total == 3.0


def test_a_grant_that_was_lost_on_its_way_is_not_reserved():
    account = Account(Terms(budget=10.0))
    assert account.reserve("a", EngineCounts(), [MOST] * 3) == 3
    assert account.reserve("a", EngineCounts(), [MOST] * 3) == 3  # it heard nothing, and asks again
    assert account.spending.reserved == 9.0


def test_nothing_is_reserved_that_the_run_file_does_not_allow_yet():
    replica = Replica(Account(Terms(budget=100.0, allowed=5.0)))
    assert replica.reserve(10) == 1
    assert replica.account.spending.wanted == 30.0
    replica.settle(3.0)
    assert replica.reserve(10) is None
    replica.account.allow(40.0)
    assert replica.account.spending.wanted == 0.0
    assert replica.reserve(10) == 10


def test_gpus_are_paid_while_they_are_held_and_while_the_run_ends():
    account = Account(Terms(budget=10.0, replica_second=0.01, ending_seconds=20))
    replica = Replica(account)
    account.hold(100.0, replicas=2)
    assert account.spending.gpus == pytest.approx(1.0)
    assert replica.reserve(4, most=0.0) == 4  # an own model's tokens cost nothing
    account.hold(955.0, replicas=2)
    assert not account.spending.is_over
    account.hold(965.0, replicas=2)  # 2 replicas for 20 s are 0.40
    assert account.spending.is_over
    assert replica.reserve(1, most=0.0) == 0


@pytest.mark.parametrize("seed", range(5))
def test_however_prompts_end_the_budget_is_passed_by_no_more_than_a_batch(seed):
    chance, budget, batch = random.Random(seed), 300.0, 10
    account = Account(Terms(budget=budget))
    replicas = [Replica(account, str(n)) for n in range(8)]
    in_flight: list[tuple[Replica, float]] = []
    waiting, costs = set(replicas), []
    while waiting or in_flight:
        for replica in sorted(waiting, key=lambda r: r.name):
            granted = replica.reserve(batch)
            in_flight += [(replica, MOST * chance.betavariate(2, 5)) for _ in range(granted or 0)]
            if granted == 0:
                waiting.discard(replica)
        if in_flight:
            replica, cost = in_flight.pop(chance.randrange(len(in_flight)))
            costs.append(cost)
            replica.settle(cost)
    spent = sum(costs)
    assert account.spending.total == pytest.approx(spent)
    assert budget <= spent <= budget + batch * MOST * 2 / 7
    assert account.spending.reserved == pytest.approx(0)
