"""How far a run has got and how fast it goes, from its counts and its totals."""

from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil
from typing import Literal, NamedTuple, TypeAlias

from pipeline.cluster.counters import REPLICAS_READY, RunCounts
from pipeline.core.accounting import Totals
from pipeline.runs.interval import Interval
from pipeline.runs.shutdown import STORING_SECONDS
from pipeline.runs.time_left import RateSpread

WINDOW_SECONDS = 60.0
"""A rate is the mean over the last minute."""

Phase: TypeAlias = Literal[
    "starting",  # nothing has been read: replicas wait for places, tasks for their processes
    "reading",  # engines have no work yet: they wait for the last record of a paper
    "arranging",  # everything is read and is being ordered for the prefix cache
    "loading",  # there is work, and the model is still loading
    "answering",
]

StageName: TypeAlias = Literal[
    "read", "current", "work", "arranged", "in_engines", "answered", "stored"
]
"""Where records are counted. A record counts at every stage that it has reached; only `in_engines`
counts those that are there now."""


class Rates(NamedTuple):
    """Per second, over the last minute; `done` counts records that engines have finished."""

    read: float = 0.0
    stored_bytes: float = 0.0
    done: float = 0.0
    prompt_tokens: float = 0.0
    completion_tokens: float = 0.0


class RateWindow:
    """The rates of a run from successive counts. Engines are timed from the moment when they can
    answer, so that loading the model does not count.
    """

    def __init__(self) -> None:
        self._samples: deque[tuple[float, RunCounts]] = deque()

    def rates(self, counts: RunCounts, now: float) -> Rates:
        """The rates including these counts, taken at `now`: seconds of a monotonic clock."""
        self._samples.append((now, counts))
        while len(self._samples) > 2 and self._samples[1][0] <= now - WINDOW_SECONDS:
            self._samples.popleft()
        first = self._samples[0]
        unready = [sample for sample in self._samples if not sample[1].can_answer]
        start = unready[-1] if unready else first
        reading, answering = now - first[0], now - start[0]
        stages, engines = counts.stages, counts.engines
        stages_before, engines_before = first[1].stages, start[1].engines
        return Rates(
            _rate(stages_before.read, stages.read, reading),
            _rate(stages_before.stored_bytes, stages.stored_bytes, reading),
            _rate(engines_before.done, engines.done, answering),
            _rate(engines_before.prompt_tokens, engines.prompt_tokens, answering),
            _rate(engines_before.completion_tokens, engines.completion_tokens, answering),
        )


def _rate(before: int, after: int, seconds: float) -> float:
    return (after - before) / seconds if seconds > 0 else 0.0


class InputBounds(NamedTuple):
    """The most that there is to do: stored bytes to read, and records to work on."""

    stored_bytes: int
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class RunProgress:
    """A run at one moment: what is stored, how far each stage has got, and how fast it goes."""

    totals: Totals
    counts: RunCounts
    rates: Rates
    bounds: InputBounds
    spread: RateSpread | None = None  # of the rate of answering
    deadline: datetime | None = None  # in the zone in which it is shown

    @property
    def read_share(self) -> float:
        """Of the input; 1 as soon as no more of it is wanted."""
        stages, (stored_bytes, limit) = self.counts.stages, self.bounds
        if limit is not None and stages.work >= limit:
            return 1.0
        return min(stages.stored_bytes / stored_bytes, 1.0) if stored_bytes else 1.0

    @property
    def expected_work(self) -> float:
        """Records that engines will have been asked at the end; known once everything is read."""
        expected = self.counts.stages.work / (self.read_share or 1.0)
        limit = self.bounds.limit
        return expected if limit is None else min(expected, limit)

    @property
    def phase(self) -> Phase:
        stages, engines = self.counts.stages, self.counts.engines
        if not stages.read:
            return "starting"
        if not engines.asked:
            return "arranging" if stages.work and self.read_share == 1 else "reading"
        return "answering" if engines.done or self.counts.can_answer else "loading"

    @property
    def share(self) -> float:
        """What is done of the phase: of the input, or of the expected work."""
        if self.counts.engines.asked and self.expected_work:
            return min(self.counts.engines.done / self.expected_work, 1.0)
        return self.read_share

    @property
    def seconds_left(self) -> float | None:
        """By the rate of reading or of answering, whichever takes longer; None while unknown.

        The unread input is assumed to hold as much work per byte as what was read.
        """
        unread, unanswered = self._unread, self._unanswered
        reading, answering = self.rates.stored_bytes, self.rates.done
        if not self.counts.stages.read or unread > 0 == reading or unanswered > 0 == answering:
            return None
        return max(
            unread / reading if unread else 0.0, unanswered / answering if unanswered else 0.0
        )

    @property
    def time_left(self) -> Interval | None:
        """The same as a range, by the rates of answering of the last ten minutes, once there is one
        of them.
        """
        if self.seconds_left is None or self.spread is None:
            return None
        reading = self._unread / self.rates.stored_bytes if self._unread else 0.0
        return Interval(*(max(reading, t) for t in self.spread.time_for(self._unanswered)))

    @property
    def _unread(self) -> float:
        """Stored bytes."""
        return (1 - self.read_share) * self.bounds.stored_bytes

    @property
    def _unanswered(self) -> float:
        return max(self.expected_work - self.counts.engines.done, 0)

    @property
    def seconds_to_deadline(self) -> float | None:
        """Of this moment, by the wall clock."""
        return (self.deadline - datetime.now(UTC)).total_seconds() if self.deadline else None

    @property
    def replicas_needed(self) -> int | None:
        """Replicas that would be done by the deadline, in the longest of the expected times, if
        those at work now will not; None if they will, or if it is unknown or too late.
        """
        at_work = sum(self.counts.replicas.get(state, 0) for state in REPLICAS_READY)
        seconds, left = self.seconds_left, self.seconds_to_deadline
        if left is None or seconds is None or not at_work:
            return None
        has = left - STORING_SECONDS
        expected = self.time_left or Interval(seconds, seconds, seconds)
        if expected.expected <= has or has <= 0:
            return None
        return ceil(at_work * expected.high / has)

    @property
    def stages(self) -> dict[StageName, int]:
        """Answers count whether they passed or failed; those that are stored count as answered
        before their replica has reported them.
        """
        stages, engines, states = self.counts.stages, self.counts.engines, self.totals.states
        stored = max(engines.stored, states["answered"] + states["failed"])
        return {
            "read": stages.read,
            "current": stages.current,
            "work": stages.work,
            "arranged": stages.arranged,
            "in_engines": self.counts.in_engines,
            "answered": max(engines.done, stored),
            "stored": stored,
        }
