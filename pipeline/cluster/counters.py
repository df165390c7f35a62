"""How a run gets on, by what its tasks and replicas say of themselves while it lasts.

These are signs of progress, which come long before anything is stored: what Ray has done twice,
after a crash, they count twice. The accounting is that of `Totals`, which counts what is stored.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from operator import add
from typing import Literal, NamedTuple, Self, TypeAlias

from pipeline.core.accounting import Totals
from pipeline.core.records import Answered, ReplicaState

WINDOW_SECONDS = 60.0
"""A rate is that of the last minute."""

Phase: TypeAlias = Literal[
    "starting",  # replicas find their places
    "reading",  # engines have nothing yet: they wait for a paper's last record
    "arranging",  # all is read, and put in order for the prefix cache
    "loading",  # engines have work, and no model to do it with
    "answering",
]

Stage: TypeAlias = Literal[
    "read", "current", "work", "arranged", "in_engines", "answered", "stored"
]
"""Where records are counted on their way; one is counted at every stage that it has reached, but
`in_engines` are those that are there now."""

REPLICAS_AT_WORK: tuple[ReplicaState, ...] = ("ready", "answering")


class StageCounts(NamedTuple):
    """What tasks have taken through the stages before the engines, in records and stored bytes."""

    read: int = 0
    stored_bytes: int = 0
    current: int = 0
    rejected: int = 0
    work: int = 0
    arranged: int = 0

    @classmethod
    def of(cls, totals: Totals) -> Self:
        """By the totals of a table of prompts."""
        read, stored_bytes = totals.sums["read"], totals.sums["stored_bytes"]
        states = totals.states
        return cls(
            read, stored_bytes, states["current"], states["rejected"], totals.standings["work"]
        )

    def plus(self, other: Self) -> Self:
        return type(self)(*map(add, self, other))


class EngineCounts(NamedTuple):
    """What a replica, or all together, have done so far; tokens are those of every attempt."""

    asked: int = 0  # records that have come to it
    answered: int = 0
    failed: int = 0
    attempts: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0

    @classmethod
    def of(cls, answer: Answered) -> Self:
        made = [attempt.completion for attempt in answer.attempts]
        failed = answer.status == "failed"
        return cls(
            answered=not failed,
            failed=failed,
            attempts=len(made),
            prompt_tokens=sum(completion.prompt_tokens for completion in made),
            cached_tokens=sum(completion.cached_tokens for completion in made),
            completion_tokens=sum(completion.completion_tokens for completion in made),
        )

    def plus(self, other: Self) -> Self:
        return type(self)(*map(add, self, other))

    @property
    def done(self) -> int:
        return self.answered + self.failed

    @property
    def in_hand(self) -> int:
        return self.asked - self.done

    @property
    def repairs(self) -> int:
        return self.attempts - self.done

    @property
    def cached_share(self) -> float | None:
        """Of the prompt tokens; None where an engine has no tokens."""
        return self.cached_tokens / self.prompt_tokens if self.prompt_tokens else None

    @property
    def passing_share(self) -> float | None:
        return self.answered / self.done if self.done else None


@dataclass(frozen=True, slots=True)
class RunCounts:
    """How far the stages have got; replicas that were lost are in `effort` and not `in_engines`.

    `free` are the replicas that may begin a table: none, soon after a run was told to end.
    """

    passed: StageCounts = field(default_factory=StageCounts)
    effort: EngineCounts = field(default_factory=EngineCounts)
    in_engines: int = 0
    replicas: Mapping[ReplicaState, int] = field(default_factory=dict)
    free: int = 0

    @property
    def can_answer(self) -> bool:
        return any(self.replicas.get(state) for state in REPLICAS_AT_WORK)


class Rates(NamedTuple):
    """All a second, over the last minute; `done` are records that engines have come to an end
    with.
    """

    read: float = 0.0
    stored_bytes: float = 0.0
    done: float = 0.0
    prompt_tokens: float = 0.0
    completion_tokens: float = 0.0


class RateWindow:
    """The rates of a run, from looks at its headway. Engines are timed from when they can answer,
    so that the time a model takes to load does not count.
    """

    def __init__(self) -> None:
        self._looks: deque[tuple[float, RunCounts]] = deque()

    def rates(self, headway: RunCounts, now: float) -> Rates:
        """With this look at `now`, in seconds of any clock that only goes on."""
        self._looks.append((now, headway))
        while len(self._looks) > 2 and self._looks[1][0] <= now - WINDOW_SECONDS:
            self._looks.popleft()
        first = self._looks[0]
        unready = [look for look in self._looks if not look[1].can_answer]
        at_work = unready[-1] if unready else first
        reading, working = now - first[0], now - at_work[0]
        passed, effort = headway.passed, headway.effort
        had_passed, had_done = first[1].passed, at_work[1].effort
        return Rates(
            _rate(had_passed.read, passed.read, reading),
            _rate(had_passed.stored_bytes, passed.stored_bytes, reading),
            _rate(had_done.done, effort.done, working),
            _rate(had_done.prompt_tokens, effort.prompt_tokens, working),
            _rate(had_done.completion_tokens, effort.completion_tokens, working),
        )


def _rate(before: int, after: int, seconds: float) -> float:
    return (after - before) / seconds if seconds > 0 else 0.0


class Extent(NamedTuple):
    """How much there is to do at most: stored bytes to read, and records to work on."""

    input_bytes: int
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class RunProgress:
    """A run as it stands: what is stored, how far its stages have got, and how fast they go."""

    totals: Totals
    headway: RunCounts
    rates: Rates
    extent: Extent

    @property
    def read_share(self) -> float:
        """Of the input; 1 as soon as no more of it is wanted."""
        passed, (input_bytes, limit) = self.headway.passed, self.extent
        if limit is not None and passed.work >= limit:
            return 1.0
        return min(passed.stored_bytes / input_bytes, 1.0) if input_bytes else 1.0

    @property
    def expected_work(self) -> float:
        """Records that engines will have been asked in the end: known once all is read."""
        expected = self.headway.passed.work / (self.read_share or 1.0)
        limit = self.extent.limit
        return expected if limit is None else min(expected, limit)

    @property
    def phase(self) -> Phase:
        passed, effort = self.headway.passed, self.headway.effort
        if not passed.read:
            return "starting"
        if not effort.asked:
            return "arranging" if passed.work and self.read_share == 1 else "reading"
        return "answering" if effort.done or self.headway.can_answer else "loading"

    @property
    def share(self) -> float:
        """Done of what the phase is about: of the input, or of the expected work."""
        if self.headway.effort.asked and self.expected_work:
            return min(self.headway.effort.done / self.expected_work, 1.0)
        return self.read_share

    @property
    def seconds_left(self) -> float | None:
        """By the rates of reading and of engines, whichever takes longer; None while that cannot
        be told. What is still unread is taken to hold as much work as what was read.
        """
        unread = (1 - self.read_share) * self.extent.input_bytes
        unanswered = max(self.expected_work - self.headway.effort.done, 0)
        reading, answering = self.rates.stored_bytes, self.rates.done
        if not self.headway.passed.read or unread > 0 == reading or unanswered > 0 == answering:
            return None
        return max(
            unread / reading if unread else 0.0, unanswered / answering if unanswered else 0.0
        )

    @property
    def stages(self) -> dict[Stage, int]:
        passed, states = self.headway.passed, self.totals.states
        return {
            "read": passed.read,
            "current": passed.current,
            "work": passed.work,
            "arranged": passed.arranged,
            "in_engines": self.headway.in_engines,
            "answered": self.headway.effort.answered,
            "stored": states["answered"] + states["failed"],
        }
