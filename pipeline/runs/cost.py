"""What a run costs: its account, the section `cost` of `run.json`, and the end at its budget."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from pipeline.cluster.account import Terms
from pipeline.cluster.counters import Spending
from pipeline.config.schema import Job, Price
from pipeline.runs.progress import RunProgress

STEP_SHARE = 1 / 20
"""Share of a budget that a run file allows ahead of what is spent and reserved."""

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

    def __init__(
        self,
        job: Job,
        resumed: Sequence[Mapping[str, Any]],
        allow: Callable[[float], object],
        write: Callable[[], object],
        stop: Callable[[], object],
    ) -> None:
        """`write` writes the run file, `stop` has the run end, `allow` passes on what it may spend.

        Each may be called from any thread.
        """
        self._job = job
        self._allow, self._write, self._stop = allow, write, stop
        earlier, budget = spent_before(resumed), job.budget or 0.0
        step = budget if job.output.append_only else budget * STEP_SHARE
        per_second = job.engine.gpus * (job.report.price.gpu_hour or 0.0) / 3600
        self._allowed = min(budget, earlier + step)
        self.terms = Terms(job.budget, earlier, per_second, job.grace_seconds, self._allowed)
        self._spending = Spending(job.budget, earlier)

    def __call__(self, progress: RunProgress) -> None:
        """Looks at what is spent, as a watcher of the run."""
        self.look(progress.counts.spending)

    def look(self, spending: Spending) -> None:
        self._spending = spending
        if self._job.budget is None:
            return
        if spending.is_over:
            self._stop()
        committed = spending.total + spending.reserved
        step = self._job.budget * STEP_SHARE
        if spending.wanted or committed > self._allowed - step / 2:
            self._raise_to(min(self._job.budget, committed + step + spending.wanted))

    def _raise_to(self, allowed: float) -> None:
        if allowed > self._allowed:
            self._allowed = allowed
            self._write()
            self._allow(allowed)

    def end(self, spending: Spending) -> None:
        """Takes what was spent at the end: what is reserved then will not be settled."""
        if spending.budget is not None or spending.total:
            cut_off = spending.cut_off + spending.reserved
            self._spending = spending._replace(cut_off=cut_off, reserved=0.0)

    def section(self, is_running: bool) -> Cost:
        """For `run.json`."""
        price, budget = self._job.report.price, self._job.budget
        if not price.is_given:
            return {}
        running = {"reserved": self._spending.reserved, "allowed": self._allowed}
        amounts = {
            "tokens": self._spending.tokens,
            "judge": self._spending.judge,
            "gpu_hours": self._spending.gpus,
            "cut_off": self._spending.cut_off,
            "earlier_starts": self._spending.earlier,
            "total": self._spending.total,
            **(running if is_running and budget is not None else {}),
        }
        rounded = {name: round(amount, 6) for name, amount in amounts.items()}
        return {"currency": price.currency, "budget": budget, **rounded}


def cost_line(cost: Mapping[str, Any]) -> str:
    """What a run has cost in a few words, with its budget if it has one; empty without a price."""
    if not cost:
        return ""
    of = f" of {money(cost['budget'])}" if cost["budget"] is not None else ""
    return f"{money(cost['total'])}{of} {cost['currency']}"


def money(amount: float) -> str:
    """Two decimals, and more where they would not show an amount below a hundredth."""
    return f"{amount:,.2f}" if amount >= 0.1 or not amount else f"{amount:.2g}"


def token_cost(price: Price, prompt: float, cached: float, completion: float) -> float:
    """Of so many tokens; 0 where tokens have no price."""
    return price.of_tokens(round(prompt), round(cached), round(completion)) or 0.0
