"""Rates, shares and time left, from what stages have told."""

from typing import Any

import pytest

from pipeline.cluster.coordinator import Coordinator, Process, Replica
from pipeline.cluster.counters import (
    WINDOW_SECONDS,
    EngineCounts,
    Extent,
    Rates,
    RateWindow,
    RunCounts,
    RunProgress,
    StageCounts,
)
from pipeline.core.accounting import Totals


def view(
    read: float = 0.5,
    work: int = 500,
    done: int = 100,
    rates: Rates = Rates(stored_bytes=10, done=5),  # noqa: B008
    limit: int | None = None,
    **headway: Any,
) -> RunProgress:
    """A run over 1,000 bytes."""
    passed = StageCounts(read=round(read * 600), stored_bytes=round(read * 1000), work=work)
    effort = EngineCounts(asked=headway.pop("asked", done), answered=done, attempts=done)
    return RunProgress(Totals(), RunCounts(passed, effort, **headway), rates, Extent(1000, limit))


def test_what_is_unread_is_taken_to_hold_as_much_work_as_what_was_read():
    assert view(read=0.5, work=500).expected_work == 1000
    assert view(read=1.0, work=500).expected_work == 500
    assert view(read=0.5, work=500, limit=600).expected_work == 600


def test_time_left_is_that_of_reading_or_answering_whichever_takes_longer():
    assert view(read=1.0, work=500, done=100).seconds_left == 400 / 5
    assert view(read=0.5, work=500, done=100).seconds_left == 900 / 5
    assert view(read=0.5, work=0, done=0).seconds_left == 500 / 10
    assert view(read=1.0, work=500, done=500).seconds_left == 0


def test_time_left_is_not_guessed_before_there_is_a_rate():
    assert view(read=1.0, rates=Rates(stored_bytes=10)).seconds_left is None
    assert view(read=0.5, rates=Rates(done=5)).seconds_left is None
    assert view(read=0.0, work=0, done=0).seconds_left is None


def test_under_a_limit_reading_is_over_as_soon_as_there_is_work_enough():
    enough = view(read=0.1, work=100, done=50, limit=100)
    assert (enough.read_share, enough.share, enough.seconds_left) == (1.0, 0.5, 10.0)


def test_what_was_done_twice_does_not_lead_beyond_the_end():
    twice = view(read=1.2, work=600, done=700)
    assert (twice.read_share, twice.share, twice.seconds_left) == (1.0, 1.0, 0.0)


@pytest.mark.parametrize(
    ("seen", "phase", "share"),
    [
        (view(read=0, work=0, done=0), "starting", 0.0),
        (view(read=0.3, done=0), "reading", 0.3),
        (view(read=1, done=0), "arranging", 1.0),
        (view(read=1, done=0, asked=9, replicas={"loading": 1}), "loading", 0.0),
        (view(read=1, done=0, asked=9, replicas={"loading": 1, "ready": 1}), "answering", 0.0),
        (view(read=1, done=100), "answering", 0.2),
        (view(read=1, work=0, done=0), "reading", 1.0),
    ],
)
def test_a_run_says_what_it_is_about(seen, phase, share):
    assert (seen.phase, seen.share) == (phase, share)


def test_rates_are_those_of_the_last_minute():
    pace = RateWindow()
    for second in range(200):
        slow = max(second - 100, 0)
        effort = EngineCounts(answered=min(second, 100) * 50 + slow * 2, prompt_tokens=second * 7)
        headway = RunCounts(StageCounts(read=second * 3), effort, replicas={"answering": 1})
        rates = pace.rates(headway, float(second))
    assert (rates.read, rates.done, rates.prompt_tokens) == (3, 2, 7)
    assert slow > WINDOW_SECONDS


def test_the_time_that_a_model_takes_to_load_slows_no_rate():
    pace = RateWindow()
    pace.rates(RunCounts(replicas={"placed": 1}), 0.0)
    pace.rates(RunCounts(effort=EngineCounts(asked=50), replicas={"loading": 1}), 40.0)
    at_work = EngineCounts(asked=50, answered=20, completion_tokens=400)
    rates = pace.rates(RunCounts(effort=at_work, replicas={"ready": 1}), 50.0)
    assert (rates.done, rates.completion_tokens) == (2, 40)


# The roll, which the stages tell.


def entered(roll: Coordinator, pid: int, effort: EngineCounts) -> None:
    roll.enter(Replica("10.0.0.1", "node", pid, "", "answering", ""))
    roll.at_work(Process("node", pid), effort, False)


def test_tasks_and_replicas_add_up():
    roll = Coordinator(replicas=2)
    roll.passed(StageCounts(read=10, work=8))
    roll.passed(StageCounts(read=5, arranged=3))
    entered(roll, 1, EngineCounts(asked=9, answered=4, failed=1))
    entered(roll, 2, EngineCounts(asked=4, answered=1))
    entered(roll, 1, EngineCounts(asked=9, answered=5, failed=1))
    headway = roll.headway()
    assert headway.passed == StageCounts(read=15, work=8, arranged=3)
    assert headway.effort == EngineCounts(asked=13, answered=6, failed=1)
    assert (headway.in_engines, headway.replicas) == (3 + 3, {"answering": 2})


def test_what_a_lost_replica_had_in_hand_is_no_longer_in_the_engines():
    roll = Coordinator(replicas=2)
    for pid in (1, 2):
        entered(roll, pid, EngineCounts(asked=10))
    roll.at_work(Process("node", 2), EngineCounts(asked=10, answered=1), False)
    entered(roll, 3, EngineCounts(asked=7))  # in the place of 1, which is silent
    assert (roll.headway().in_engines, roll.headway().replicas) == (9 + 7, {"answering": 2})


def test_a_replica_that_was_merely_silent_is_back_with_its_next_word():
    roll = Coordinator(replicas=2)
    for pid in (1, 2, 3):
        entered(roll, pid, EngineCounts(asked=pid))
    assert roll.headway().in_engines == 2 + 3
    roll.at_work(Process("node", 1), EngineCounts(asked=1), False)
    assert roll.headway().in_engines == 1 + 3


def test_a_replica_that_heard_that_the_run_goes_on_is_free_until_it_says_that_it_ends():
    roll = Coordinator(replicas=4)
    for pid in (3, 4):
        roll.enter(Replica("10.0.0.1", "node", pid, "", "placed", ""))
    for pid in (1, 2):
        entered(roll, pid, EngineCounts(asked=1))
    assert roll.seconds_left(Process("node", 3)) is None  # it may have begun its first table since
    assert roll.headway().free == 3
    roll.end(10)
    assert roll.seconds_left(Process("node", 4)) is not None  # it begins none
    assert roll.headway().free == 3
    roll.at_work(Process("node", 3), EngineCounts(), True)
    roll.at_work(Process("node", 1), EngineCounts(asked=1, answered=1), True)
    roll.at_work(
        Process("node", 2), EngineCounts(asked=2, answered=2), False
    )  # sent before it heard
    assert (roll.headway().in_engines, roll.headway().free) == (0, 1)
    roll.at_work(Process("node", 2), EngineCounts(asked=3, answered=2), True)
    assert (roll.headway().in_engines, roll.headway().free) == (1, 0)
