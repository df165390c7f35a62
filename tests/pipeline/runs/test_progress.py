"""Rates, shares and time left, computed from the counts of stages and engines."""

from collections.abc import Iterable
from random import Random
from typing import Any

import pytest

from pipeline.cluster.counters import EngineCounts, RunCounts, StageCounts
from pipeline.core.accounting import Totals
from pipeline.runs.progress import WINDOW_SECONDS, InputBounds, Rates, RateWindow, RunProgress
from pipeline.runs.time_left import FEWEST_INTERVALS, INTERVAL_SECONDS, RateSpread, SpreadWindow


def progress(
    read: float = 0.5,
    work: int = 500,
    done: int = 100,
    rates: Rates = Rates(stored_bytes=10, done=5),  # noqa: B008
    limit: int | None = None,
    **counted: Any,
) -> RunProgress:
    """A run over 1,000 bytes."""
    stages = StageCounts(read=round(read * 600), stored_bytes=round(read * 1000), work=work)
    engines = EngineCounts(asked=counted.pop("asked", done), answered=done, attempts=done)
    return RunProgress(
        Totals(), RunCounts(stages, engines, **counted), rates, InputBounds(1000, limit)
    )


def test_unread_input_is_assumed_to_hold_as_much_work_as_what_was_read():
    assert progress(read=0.5, work=500).expected_work == 1000
    assert progress(read=1.0, work=500).expected_work == 500
    assert progress(read=0.5, work=500, limit=600).expected_work == 600


def test_time_left_is_the_longer_of_reading_and_answering():
    assert progress(read=1.0, work=500, done=100).seconds_left == 400 / 5
    assert progress(read=0.5, work=500, done=100).seconds_left == 900 / 5
    assert progress(read=0.5, work=0, done=0).seconds_left == 500 / 10
    assert progress(read=1.0, work=500, done=500).seconds_left == 0


def test_time_left_is_unknown_until_there_is_a_rate():
    assert progress(read=1.0, rates=Rates(stored_bytes=10)).seconds_left is None
    assert progress(read=0.5, rates=Rates(done=5)).seconds_left is None
    assert progress(read=0.0, work=0, done=0).seconds_left is None


def test_under_a_limit_reading_ends_once_there_is_enough_work():
    enough = progress(read=0.1, work=100, done=50, limit=100)
    assert (enough.read_share, enough.share, enough.seconds_left) == (1.0, 0.5, 10.0)


def test_work_done_twice_does_not_lead_beyond_the_end():
    twice = progress(read=1.2, work=600, done=700)
    assert (twice.read_share, twice.share, twice.seconds_left) == (1.0, 1.0, 0.0)


@pytest.mark.parametrize(
    ("seen", "phase", "share"),
    [
        (progress(read=0, work=0, done=0), "starting", 0.0),
        (progress(read=0.3, done=0), "reading", 0.3),
        (progress(read=1, done=0), "arranging", 1.0),
        (progress(read=1, done=0, asked=9, replicas={"loading": 1}), "loading", 0.0),
        (progress(read=1, done=0, asked=9, replicas={"loading": 1, "ready": 1}), "answering", 0.0),
        (progress(read=1, done=100), "answering", 0.2),
        (progress(read=1, work=0, done=0), "reading", 1.0),
    ],
)
def test_progress_names_the_phase_of_the_run_and_its_share(seen, phase, share):
    assert (seen.phase, seen.share) == (phase, share)


def test_rates_are_those_of_the_last_minute():
    window = RateWindow()
    for second in range(200):
        slow = max(second - 100, 0)
        engines = EngineCounts(answered=min(second, 100) * 50 + slow * 2, prompt_tokens=second * 7)
        counts = RunCounts(StageCounts(read=second * 3), engines, replicas={"answering": 1})
        rates = window.rates(counts, float(second))
    assert (rates.read, rates.done, rates.prompt_tokens) == (3, 2, 7)
    assert slow > WINDOW_SECONDS


def test_loading_a_model_does_not_lower_the_rates():
    window = RateWindow()
    window.rates(RunCounts(replicas={"placed": 1}), 0.0)
    window.rates(RunCounts(engines=EngineCounts(asked=50), replicas={"loading": 1}), 40.0)
    at_work = EngineCounts(asked=50, answered=20, completion_tokens=400)
    rates = window.rates(RunCounts(engines=at_work, replicas={"ready": 1}), 50.0)
    assert (rates.done, rates.completion_tokens) == (2, 40)


def seen(rates: Iterable[float], seconds: float = 1.0) -> RateSpread | None:
    """The spread of a run that was looked at every second, with a new rate in each interval."""
    window, done, now = SpreadWindow(), 0.0, 0.0
    window.add(0, now)
    for rate in rates:
        for _ in range(int(INTERVAL_SECONDS / seconds)):
            done, now = done + rate * seconds, now + seconds
            window.add(int(done), now)
    return window.spread


def test_a_steady_run_has_no_range_and_a_young_one_none_yet():
    assert seen([50] * (FEWEST_INTERVALS - 1)) is None
    assert seen([0] * 20) is None
    steady = seen([50] * 20)
    assert steady is not None
    assert steady.time_for(30_000) == (600, 600, 600)


def test_a_range_is_wider_for_uneven_rates_and_shorter_times():
    even, uneven = seen([45, 55] * 10), seen([10, 90] * 10)
    assert even is not None
    assert uneven is not None
    assert uneven.time_for(30_000).low < even.time_for(30_000).low < 600
    assert 600 < even.time_for(30_000).high < uneven.time_for(30_000).high

    def width(seconds: float) -> float:
        left = even.time_for(50 * seconds)
        return (left.high - left.low) / seconds

    assert width(30) > width(3600)


def test_nine_of_ten_runs_are_done_within_the_range():
    """Rates of intervals that differ by 40 %, none of which says anything of the next."""
    chance, inside = Random(7), 0
    for _ in range(200):
        rates = [max(chance.gauss(50, 20), 1) for _ in range(400)]
        spread = seen(rates[:40], INTERVAL_SECONDS)
        assert spread is not None
        left, taken, at = 9_000.0, 0.0, 40
        while left > 0:
            taken += min(left / rates[at], INTERVAL_SECONDS)
            left -= rates[at] * INTERVAL_SECONDS
            at += 1
        low, _, high = spread.time_for(9_000)
        inside += low <= taken <= high
    assert inside / 200 >= 0.85
