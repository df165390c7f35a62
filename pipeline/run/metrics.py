"""A run's figures for Prometheus, through Ray's own metrics.

The agent of the driver's node exports them, as `ray_` and the name, where `ray[default]` is
installed; elsewhere they go nowhere. Counters are exact, and add up what is stored; gauges show
what the terminal shows. No label has a value for each record, paper or run.
"""

from collections.abc import Iterator
from typing import NamedTuple

from ray.util.metrics import Counter, Gauge

from pipeline.cluster.counters import RunProgress


class Figure(NamedTuple):
    """A metric, and what tells its series apart, if it has several."""

    name: str
    says: str
    label: str | None = None


JOB_LABEL = "job_name"
"""Of every metric. `job` is what Prometheus calls the place that it has a metric from."""

RECORDS = Figure("overnight_records_total", "Records by the state they ended in.", "state")
TOKENS = Figure("overnight_tokens_total", "Tokens of all attempts; cached are of prompt.", "kind")
CHECKS_MISSED = Figure("overnight_checks_missed_total", "Answers that a check found bad.", "check")
REPAIRS = Figure("overnight_repairs_total", "Attempts after a record's first.")

STAGE_RECORDS = Figure("overnight_stage_records", "Records that reached a stage so far.", "stage")
REPLICAS = Figure("overnight_replicas", "Engines that live, by how far they have got.", "state")
RECORDS_RATE = Figure("overnight_records_per_second", "Records that engines finished.")
TOKENS_RATE = Figure("overnight_tokens_per_second", "Tokens that engines worked off.", "kind")
CACHED = Figure("overnight_cached_ratio", "Share of the prompt tokens that was cached.")
PASSING = Figure("overnight_passing_ratio", "Share of the answers that no check failed.")
SECONDS_LEFT = Figure("overnight_left_seconds", "Time left, at the rates of the last minute.")

COUNTERS = (RECORDS, TOKENS, CHECKS_MISSED, REPAIRS)
GAUGES = (STAGE_RECORDS, REPLICAS, RECORDS_RATE, TOKENS_RATE, CACHED, PASSING, SECONDS_LEFT)


class Sample(NamedTuple):
    figure: Figure
    value: float
    of: str = ""  # the label's value


def counted(view: RunProgress) -> Iterator[Sample]:
    """What counters stand at since the run began."""
    totals = view.totals
    for state, records in totals.states.items():
        yield Sample(RECORDS, records, state)
    for kind in ("prompt", "cached", "completion"):
        yield Sample(TOKENS, totals.sums[f"{kind}_tokens"], kind)
    for check, missed in totals.checks.items():
        yield Sample(CHECKS_MISSED, missed, check)
    yield Sample(REPAIRS, totals.sums["repairs"])


def gauged(view: RunProgress) -> Iterator[Sample]:
    """What gauges show now; those that cannot be told are left out."""
    for stage, records in view.stages.items():
        yield Sample(STAGE_RECORDS, records, stage)
    for state in ("placed", "loading", "ready", "answering"):
        yield Sample(REPLICAS, view.headway.replicas.get(state, 0), state)
    yield Sample(RECORDS_RATE, view.rates.done)
    yield Sample(TOKENS_RATE, view.rates.prompt_tokens, "prompt")
    yield Sample(TOKENS_RATE, view.rates.completion_tokens, "completion")
    effort = view.headway.effort
    for figure, value in (
        (CACHED, effort.cached_share),
        (PASSING, effort.passing_share),
        (SECONDS_LEFT, view.seconds_left),
    ):
        if value is not None:
            yield Sample(figure, value)


class Metrics:
    """The metrics of one run; one thread at a time records them."""

    def __init__(self, job_name: str) -> None:
        self._job_name = job_name
        self._counters = {figure: Counter(*_declared(figure)) for figure in COUNTERS}
        self._gauges = {figure: Gauge(*_declared(figure)) for figure in GAUGES}
        self._stood: dict[tuple[Figure, str], float] = {}

    def record(self, view: RunProgress) -> None:
        for sample in counted(view):
            at = sample.figure, sample.of
            if (more := sample.value - self._stood.get(at, 0)) > 0:
                self._stood[at] = sample.value
                self._counters[sample.figure].inc(more, self._labels(sample))
        for sample in gauged(view):
            self._gauges[sample.figure].set(sample.value, self._labels(sample))

    def _labels(self, sample: Sample) -> dict[str, str]:
        label = {sample.figure.label: sample.of} if sample.figure.label else {}
        return {JOB_LABEL: self._job_name, **label}


def _declared(figure: Figure) -> tuple[str, str, tuple[str, ...]]:
    labels = (JOB_LABEL, figure.label) if figure.label else (JOB_LABEL,)
    return figure.name, figure.says, labels
