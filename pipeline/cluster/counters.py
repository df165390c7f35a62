"""What tasks and replicas count while a run lasts.

Counts show progress long before anything is stored. What Ray does twice, after a crash, they count
twice; the accounting is that of `Totals`, which counts what is stored.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from operator import add, sub
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
    reserved_prompts: int = 0  # for which the account of the budget has granted `reserved`
    settled_prompts: int = 0  # whose costs are known; `settled` had been reserved for them
    reserved: float = 0.0
    settled: float = 0.0
    token_cost: float = 0.0
    judge_cost: float = 0.0

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

    def minus(self, other: Self) -> Self:
        return type(self)(*map(sub, self, other))

    @property
    def done(self) -> int:
        return self.answered + self.failed

    @property
    def cost(self) -> float:
        return self.token_cost + self.judge_cost

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


class Spending(NamedTuple):
    """What a run has spent, in the currency of `report.price`.

    `cut_off` is what had been reserved for prompts whose cost will not be known, `reserved` the
    same for those in flight. `wanted` was refused to replicas that wait, `allowed` is what may be
    spent and reserved for now. It `is_over` if a replica found the budget spent, or if that is so
    while prompts are in flight.
    """

    budget: float | None = None
    earlier: float = 0.0  # by earlier starts of the run
    tokens: float = 0.0
    judge: float = 0.0
    gpus: float = 0.0
    cut_off: float = 0.0
    reserved: float = 0.0
    wanted: float = 0.0
    allowed: float = 0.0
    is_over: bool = False

    @property
    def total(self) -> float:
        return self.earlier + self.tokens + self.judge + self.gpus + self.cut_off


@dataclass(frozen=True, slots=True)
class RunCounts:
    """The counts of a whole run. Replicas that were lost are in `engines`, not in `in_engines`."""

    stages: StageCounts = field(default_factory=StageCounts)
    engines: EngineCounts = field(default_factory=EngineCounts)
    in_engines: int = 0
    replicas: Mapping[ReplicaState, int] = field(default_factory=dict)
    may_begin: int = 0  # replicas that may begin a batch: none, soon after a SIGTERM
    spending: Spending = Spending()  # noqa: RUF009  it cannot change
    waits_for: str = ""  # the limit of an endpoint that binds, in words
    rate_limited: int = 0  # requests that endpoints have refused for their rate

    @property
    def can_answer(self) -> bool:
        return any(self.replicas.get(state) for state in REPLICAS_READY)
