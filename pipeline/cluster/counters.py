"""What tasks and replicas count while a run lasts.

Counts show progress long before anything is stored. What Ray does twice, after a crash, they count
twice; the accounting is that of `Totals`, which counts what is stored.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from operator import add
from typing import NamedTuple, Self

from pipeline.core.accounting import Totals
from pipeline.core.records import Answered, ReplicaState

REPLICAS_READY: tuple[ReplicaState, ...] = ("ready", "answering")


class StageCounts(NamedTuple):
    """What the stages before the engines have done, in records and stored bytes."""

    read: int = 0
    stored_bytes: int = 0
    current: int = 0
    rejected: int = 0
    work: int = 0
    arranged: int = 0

    @classmethod
    def of(cls, totals: Totals) -> Self:
        """The counts of a table of prompts."""
        read, stored_bytes = totals.sums["read"], totals.sums["stored_bytes"]
        states = totals.states
        return cls(
            read, stored_bytes, states["current"], states["rejected"], totals.standings["work"]
        )

    def plus(self, other: Self) -> Self:
        return type(self)(*map(add, self, other))


class EngineCounts(NamedTuple):
    """What one replica, or all of them, have done so far.

    A generation that equal prompts share counts once, and so do its tokens.
    """

    asked: int = 0  # records that have reached a replica
    answered: int = 0
    failed: int = 0
    stored: int = 0  # of those answered and failed
    attempts: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    batches: int = 0  # answered to their ends
    shared: int = 0  # first attempts of records that another's generation was used for

    @classmethod
    def sum(cls, counts: Iterable[Self]) -> Self:
        return cls(*map(sum, zip(*counts, strict=True)))

    @classmethod
    def of(cls, answer: Answered) -> Self:
        completions = answer.generations
        failed = answer.status == "failed"
        return cls(
            answered=not failed,
            failed=failed,
            attempts=len(completions),
            prompt_tokens=sum(completion.prompt_tokens for completion in completions),
            cached_tokens=sum(completion.cached_tokens for completion in completions),
            completion_tokens=sum(completion.completion_tokens for completion in completions),
            shared=answer.attempts[0].completion.generated_for is not None,
        )

    def plus(self, other: Self) -> Self:
        return type(self)(*map(add, self, other))

    @property
    def done(self) -> int:
        return self.answered + self.failed

    @property
    def in_progress(self) -> int:
        return self.asked - self.done

    @property
    def repairs(self) -> int:
        return self.attempts + self.shared - self.done

    @property
    def cached_share(self) -> float | None:
        """Share of the prompt tokens; None for an engine without tokens."""
        return self.cached_tokens / self.prompt_tokens if self.prompt_tokens else None

    @property
    def passing_share(self) -> float | None:
        return self.answered / self.done if self.done else None


@dataclass(frozen=True, slots=True)
class RunCounts:
    """The counts of a whole run. Replicas that were lost are in `engines`, not in `in_engines`."""

    stages: StageCounts = field(default_factory=StageCounts)
    engines: EngineCounts = field(default_factory=EngineCounts)
    in_engines: int = 0
    replicas: Mapping[ReplicaState, int] = field(default_factory=dict)
    may_begin: int = 0  # replicas that may begin a batch: none, soon after a SIGTERM
    waits_for: str = ""  # the limit of an endpoint that binds, in words
    rate_limited: int = 0  # requests that endpoints have refused for their rate

    @property
    def can_answer(self) -> bool:
        return any(self.replicas.get(state) for state in REPLICAS_READY)
