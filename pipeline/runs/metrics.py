"""A run's metrics for Prometheus, exported by Ray.

The agent of the driver's node exports them, with names that begin with `ray_`, if `ray[default]` is
installed there. Counters are exact: they count what is stored. Gauges show what the terminal shows.
No label has as many values as there are records, papers or runs.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from ray.util.metrics import Counter, Gauge

from pipeline.runs.progress import RunProgress


class Metric(NamedTuple):
    """A metric; `label` is the one that distinguishes its series, if it has several."""

    name: str
    help: str
    label: str | None = None


JOB_LABEL = "job_name"
"""A label of every metric. Prometheus itself calls a group of scrape targets `job`."""

RECORDS = Metric("overnight_records_total", "Records by the state they ended in.", "state")
TOKENS = Metric("overnight_tokens_total", "Tokens of all attempts; cached: of the prompt.", "kind")
CHECKS_MISSED = Metric("overnight_checks_missed_total", "Answers that missed a check.", "check")
REPAIRS = Metric("overnight_repairs_total", "Attempts after a record's first.")

STAGE_RECORDS = Metric("overnight_stage_records", "Records that have reached a stage.", "stage")
REPLICAS = Metric("overnight_replicas", "Living replicas by their state.", "state")
RECORDS_RATE = Metric("overnight_records_per_second", "Records that engines finish.")
TOKENS_RATE = Metric("overnight_tokens_per_second", "Tokens that engines process.", "kind")
CACHED = Metric("overnight_cached_ratio", "Share of prompt tokens found in the prefix cache.")
PASSING = Metric("overnight_passing_ratio", "Share of answers that failed no check.")
SECONDS_LEFT = Metric("overnight_left_seconds", "Time left, at the rates of the last minute.")

DEADLINE = Metric("overnight_deadline_seconds", "Time until the deadline, if there is one.")

COUNTERS = (RECORDS, TOKENS, CHECKS_MISSED, REPAIRS)
GAUGES = (
    STAGE_RECORDS,
    REPLICAS,
    RECORDS_RATE,
    TOKENS_RATE,
    CACHED,
    PASSING,
    SECONDS_LEFT,
    DEADLINE,
)


class Sample(NamedTuple):
    metric: Metric
    value: float
    label: str = ""  # the value of the metric's label


def _counters(progress: RunProgress) -> Iterator[Sample]:
    """The values of counters since the run began."""
    totals = progress.totals
    for state, records in totals.states.items():
        yield Sample(RECORDS, records, state)
    for kind in ("prompt", "cached", "completion"):
        yield Sample(TOKENS, totals.sums[f"{kind}_tokens"], kind)
    for check, missed in totals.checks.items():
        yield Sample(CHECKS_MISSED, missed, check)
    yield Sample(REPAIRS, totals.sums["repairs"])


def _gauges(progress: RunProgress) -> Iterator[Sample]:
    """The values of gauges now, without those that are unknown."""
    for stage, records in progress.stages.items():
        yield Sample(STAGE_RECORDS, records, stage)
    for state in ("placed", "loading", "ready", "answering"):
        yield Sample(REPLICAS, progress.counts.replicas.get(state, 0), state)
    yield Sample(RECORDS_RATE, progress.rates.done)
    yield Sample(TOKENS_RATE, progress.rates.prompt_tokens, "prompt")
    yield Sample(TOKENS_RATE, progress.rates.completion_tokens, "completion")
    engines = progress.counts.engines
    for metric, value in (
        (CACHED, engines.cached_share),
        (PASSING, engines.passing_share),
        (SECONDS_LEFT, progress.seconds_left),
        (DEADLINE, progress.seconds_to_deadline),
    ):
        if value is not None:
            yield Sample(metric, value)


class Metrics:
    """Exports the metrics of one run; called by one thread at a time, once Ray has started."""

    def __init__(self, job_name: str) -> None:
        self._job_name = job_name
        self._declared: dict[Metric, Counter | Gauge] = {}
        self._last: dict[tuple[Metric, str], float] = {}

    def __call__(self, progress: RunProgress) -> None:
        for sample in _counters(progress):
            series = sample.metric, sample.label
            if (increase := sample.value - self._last.get(series, 0)) > 0:
                self._last[series] = sample.value
                self._declare(sample.metric, Counter).inc(increase, self._labels(sample))
        for sample in _gauges(progress):
            self._declare(sample.metric, Gauge).set(sample.value, self._labels(sample))

    def _declare(self, metric: Metric, kind: type[Counter] | type[Gauge]) -> Any:
        if metric not in self._declared:
            labels = (JOB_LABEL, metric.label) if metric.label else (JOB_LABEL,)
            self._declared[metric] = kind(metric.name, metric.help, labels)
        return self._declared[metric]

    def _labels(self, sample: Sample) -> dict[str, str]:
        label = {sample.metric.label: sample.label} if sample.metric.label else {}
        return {JOB_LABEL: self._job_name, **label}
