"""What a run may still spend: the account of its `budget`, kept in one place for all replicas.

Before requests go out, a replica reserves what they can cost; what they did cost is known when they
are done, and settles the reservation. Amounts are in the currency of `report.price`.
"""

from bisect import bisect_right
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from math import inf

from pipeline.cluster.counters import EngineCounts, Spending

MEASURED_PROMPTS = 20
"""So many must be settled before their cost says anything of those to come."""

MARGIN = 2.0
"""What a prompt reserves, in multiples of what those that are settled have cost: those that are
done first are the short ones."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What an account begins with.

    `earlier` was spent by earlier starts of the run. A replica costs `replica_second` as long as it
    holds its GPUs, and `ending_seconds` after the run is told to end. `allowed` is what may be
    reserved for now: more is allowed once the run file says so. `most_attempts` is what all
    attempts at a prompt can cost, in multiples of the most that one can.
    """

    budget: float | None = None
    earlier: float = 0.0
    replica_second: float = 0.0
    ending_seconds: float = 0.0
    allowed: float = inf
    most_attempts: float = 1.0


@dataclass(slots=True)
class Holder:
    """A replica's reservations since it started, and how far they are settled."""

    prompts: int = 0
    reserved: float = 0.0
    counts: EngineCounts = field(default_factory=EngineCounts)

    @property
    def open_prompts(self) -> int:
        return self.prompts - self.counts.settled_prompts

    @property
    def open(self) -> float:
        """Reserved for prompts that are not done."""
        return self.reserved - self.counts.settled


class Account:
    """Grants reservations as long as the budget lasts.

    What is reserved is the most that prompts can cost in one attempt, times a factor:
    `most_attempts`, until `MEASURED_PROMPTS` are settled, then `MARGIN` times what settled prompts
    have cost of that, repairs and verdicts included. A refused replica waits while others have
    prompts in flight, which may cost less than they reserved. If nothing is in flight, one prompt
    may begin as long as anything is left: so the budget is used up, and passed by no more than that
    prompt's cost, unless prompts come to cost more than `MARGIN` times those before them.

    What a lost replica, or one that was cut off, had reserved counts as spent.
    """

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._allowed = terms.allowed
        self._holders: dict[Hashable, Holder] = {}
        self._all = Holder()  # of all holders together
        self._lost, self._lost_prompts = 0.0, 0
        self._replica_seconds, self._replicas = 0.0, 0
        self._wanted = 0.0
        self._is_over = False

    def reserve(
        self, holder: Hashable, counts: EngineCounts, amounts: Sequence[float]
    ) -> int | None:
        """For how many of these prompts there is money, in their order: 0 if the budget is spent,
        None if that will be known later.

        `counts` are the holder's, as `settle` takes them. They say what it knows to have been
        granted before: a grant that was lost on the way to it is not reserved.
        """
        if self._terms.budget is None:
            return len(amounts)
        self.settle(holder, counts)
        of_holder = self._holder(holder)
        prompts = counts.reserved_prompts - of_holder.prompts
        self._add_reserved(of_holder, prompts, counts.reserved - of_holder.reserved)
        sums = list(accumulate(amount * self._factor for amount in amounts))
        granted = bisect_right(sums, min(self._terms.budget, self._allowed) - self._committed)
        if granted < len(sums):
            self._wanted = max(self._wanted, sums[-1])
        if not granted and not (granted := self._one_more()):
            return 0 if self._is_over else None
        self._add_reserved(of_holder, granted, sum(amounts[:granted]))
        return granted

    def _one_more(self) -> int:
        """1 if a prompt may begin although it may cost more than is left."""
        budget = self._terms.budget or 0.0
        if self._open_prompts or (self._allowed < budget and self._committed < budget):
            return 0
        self._is_over = self._committed >= budget
        return int(not self._is_over)

    def settle(self, holder: Hashable, counts: EngineCounts) -> None:
        """Takes all that a holder has counted since it started."""
        of_holder = self._holder(holder)
        of_all, before = self._all.counts, of_holder.counts
        if counts.settled_prompts != before.settled_prompts or counts.cost != before.cost:
            self._all.counts = of_all.plus(counts).minus(before)
            of_holder.counts = counts

    def hold(self, replica_seconds: float, replicas: int) -> None:
        """For how long replicas have held their GPUs, all of them together, and how many do now."""
        self._replica_seconds, self._replicas = replica_seconds, replicas
        if self._terms.budget is not None and self._open_prompts:
            self._is_over = self._is_over or self._spent >= self._terms.budget

    def lose(self, holders: Iterable[Hashable]) -> None:
        """Names all holders that are taken for lost; one that is back is not named again."""
        lost = [self._holders[holder] for holder in holders if holder in self._holders]
        self._lost = sum(holder.open for holder in lost)
        self._lost_prompts = sum(holder.open_prompts for holder in lost)

    def allow(self, amount: float) -> None:
        """Lets so much be spent and reserved, all starts of the run together."""
        self._allowed, self._wanted = max(self._allowed, amount), 0.0

    @property
    def spending(self) -> Spending:
        counts, terms = self._all.counts, self._terms
        return Spending(
            terms.budget,
            terms.earlier,
            counts.token_cost,
            counts.judge_cost,
            self._of_gpus,
            self._lost * self._factor,
            (self._all.open - self._lost) * self._factor,
            self._wanted,
            self._allowed,
            self._is_over,
        )

    @property
    def _factor(self) -> float:
        counts = self._all.counts
        if counts.settled_prompts < MEASURED_PROMPTS or not counts.settled:
            return self._terms.most_attempts
        return MARGIN * counts.cost / counts.settled

    @property
    def _open_prompts(self) -> int:
        return self._all.open_prompts - self._lost_prompts

    @property
    def _of_gpus(self) -> float:
        return self._replica_seconds * self._terms.replica_second

    @property
    def _spent(self) -> float:
        """With what the replicas hold while the run ends."""
        ending = self._replicas * self._terms.ending_seconds * self._terms.replica_second
        lost = self._lost * self._factor
        return self._terms.earlier + self._all.counts.cost + self._of_gpus + ending + lost

    @property
    def _committed(self) -> float:
        return self._spent + (self._all.open - self._lost) * self._factor

    def _holder(self, holder: Hashable) -> Holder:
        return self._holders.setdefault(holder, Holder())

    def _add_reserved(self, of_holder: Holder, prompts: int, amount: float) -> None:
        for each in (of_holder, self._all):
            each.prompts += prompts
            each.reserved += amount
