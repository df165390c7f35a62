"""What share of its records a run may lose: `failure_budget` and `reject_budget`."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline.config.schema import Job
from pipeline.core.accounting import Totals


def overruns(
    job: Job, totals: Totals, limit: int | None, earlier: Sequence[Mapping[str, Any]] = ()
) -> Iterator[str]:
    """Says of each budget that a run, or a plan of one, exceeds by how much it does."""
    yield from _failed(job.failure_budget, [totals.counts, *(s["counts"] or {} for s in earlier)])
    yield from _rejected(job.reject_budget, totals, limit)


def _failed(budget: float, counts: Sequence[Mapping[str, int]]) -> Iterator[str]:
    """Answers that failed in earlier starts of a run count: that they are current when a scheduler
    starts it again does not make them succeed.
    """
    answered, failed = (sum(c.get(state, 0) for c in counts) for state in ("answered", "failed"))
    if failed and failed / (answered + failed) > budget:
        yield _overrun(failed, answered + failed, "failed", "failure_budget", budget)


def _rejected(budget: float, totals: Totals, limit: int | None) -> Iterator[str]:
    """Where a limit was reached, the rejects that were met say nothing of the rest."""
    states, planned = totals.states, totals.standings["work"]
    worked = states["answered"] + states["failed"] + planned
    rejected, seen = states["rejected"], totals.done + planned
    if not rejected or rejected / seen <= budget or (limit is not None and worked >= limit):
        return
    line = _overrun(rejected, seen, "were rejected", "reject_budget", budget)
    detail = "".join(f": {detail}" for detail, _ in totals.details.most_common(1))
    yield f"{line}{detail}"


def _overrun(some: int, all_: int, what: str, key: str, budget: float) -> str:
    return f"{some:,} of {all_:,} records {what}, {some / all_:.1%}; {key} is {budget:g}"
