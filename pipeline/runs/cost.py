"""What a run costs: its account, the section `cost` of `run.json`, and the end at its budget."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from typing import Any, TypeAlias

from pipeline.cluster.account import Terms
from pipeline.cluster.counters import Spending
from pipeline.config.schema import Job
from pipeline.core.errors import StorageError
from pipeline.core.processes import periodic_calls
from pipeline.runs.monitor import Watcher
from pipeline.runs.progress import RunProgress

STEP_SHARE = 1 / 20
"""Share of a budget that a run file allows ahead of what is spent and reserved."""

LOOK_SECONDS = 0.25
"""How often that is looked at: replicas may wait for it."""

Cost: TypeAlias = dict[str, Any]
"""The section `cost` of a `run.json`: amounts by what they were spent on, in a currency; empty
where nothing has a price. `total` is that of all starts of the run. A running one says what may be
spent before the file is written again, as `allowed`."""


def spent_before(resumed: Sequence[Mapping[str, Any]]) -> float:
    """What earlier starts of a run have spent, the latest of them with all that were before it.

    One that was killed may have spent all that its file allowed.
    """
    costs = [(start["status"], start["cost"]) for start in resumed if start.get("cost")]
    if not costs:
        return 0.0
    status, cost = costs[-1]
    most = cost.get("allowed") or 0.0 if status == "running" else 0.0
    return float(max(cost["total"], most))


class RunCost:
    """What a run has spent, by the latest look at its account; ends the run at its budget.

    Nothing is reserved unless the run file said before that it may be: after a kill, the next start
    of the run counts that as spent. That is `STEP_SHARE` of the budget more than was spent and
    reserved at that moment, at most, or what replicas have asked for since.

    *Crash windows:* with `output.append_only` the file is written once, and allows the whole budget
    then. Without a budget, what was spent since the last heartbeat is lost. Seconds for which GPUs
    are held between the last look and a kill are paid out of what was allowed.
    """

    def __init__(self, job: Job, resumed: Sequence[Mapping[str, Any]]) -> None:
        """`resumed` are the earlier starts of the run."""
        self._job = job
        earlier, budget = spent_before(resumed), job.budget or 0.0
        step = budget if job.output.append_only else budget * STEP_SHARE
        per_second = job.engine.gpus * (job.report.price.gpu_hour or 0.0) / 3600
        self._allowed = min(budget, earlier + step)
        # Each attempt may have twice the tokens of the one before, which stand in its prompt.
        most = 2.0**job.attempts
        self.terms = Terms(job.budget, earlier, per_second, job.grace_seconds, self._allowed, most)
        self._spending = Spending(job.budget, earlier)

    @property
    def is_spent(self) -> bool:
        """Whether earlier starts have left nothing, so that it is no use to start anything."""
        budget = self._job.budget
        return budget is not None and self.terms.earlier >= budget

    def watcher(self, stop: Callable[[], object]) -> Watcher:
        """Takes what is spent from the progress of the run; `stop` has it end at its budget."""

        def look(progress: RunProgress) -> None:
            self._spending = progress.counts.spending
            if self._spending.is_over:
                stop()

        return look

    @contextmanager
    def watching(
        self, write: Callable[[], object], allow: Callable[[float], object]
    ) -> Iterator[None]:
        """While the block lasts, `write` writes the run file when more is to be allowed, and
        `allow` passes that on then.
        """

        def raise_allowed() -> None:
            if (allowed := self._needed(self._spending)) > self._allowed:
                self._allowed = allowed
                with suppress(StorageError):  # what was not passed on is wanted again
                    write()
                    allow(allowed)

        with periodic_calls(raise_allowed, LOOK_SECONDS) if self._job.budget else nullcontext():
            yield

    def _needed(self, spending: Spending) -> float:
        """What is to be allowed, if that is more than is."""
        budget = self._job.budget or 0.0
        committed, step = spending.total + spending.reserved, budget * STEP_SHARE
        if not spending.wanted and committed <= self._allowed - step / 2:
            return 0.0
        return min(budget, committed + step + spending.wanted)

    def section(self, is_running: bool) -> Cost:
        """For `run.json`."""
        price, budget = self._job.report.price, self._job.budget
        if not price.is_given:
            return {}
        spent, allowed = self._spending, {"allowed": self._allowed}
        unsettled = 0.0 if is_running else spent.reserved  # at the end it will not be settled
        amounts = {
            "tokens": spent.tokens,
            "judge": spent.judge,
            "gpus": spent.gpus,
            "cut_off": spent.cut_off + unsettled,
            "earlier_starts": spent.earlier,
            "total": spent.total + unsettled,
            **(allowed if is_running and budget is not None else {}),
        }
        rounded = {name: round(amount, 6) + 0.0 for name, amount in amounts.items()}  # no -0.0
        return {"currency": price.currency, "budget": budget, **rounded}
