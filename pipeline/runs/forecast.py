"""How long a planned run will take and what it will cost: low, expected and high.

*Tokens* of the plan are its prompts by their characters, and the answers by the lengths of earlier
ones to the same questions, each times what earlier runs took of it, all of them pooled: so repairs,
reasoning, verdicts and what the prefix cache held are in it. Runs with the plan's template tell
that if there are any.

*Time* is a line through the earlier runs: seconds until an engine can answer, then so many for each
unit of work of a replica, and a constant for the last answers, fitted to relative deviations where
runs of different sizes tell it.

*Low to high* is the 90 % prediction interval of one more run. The logarithms of actual to fitted,
one an earlier run, are taken as a normal sample; their variance is that of the sample and of a
prior, `PRIOR_SPREAD` with the weight of `PRIOR_RUNS`, so that one run has an interval too (the
posterior predictive of a normal model with a conjugate prior: Student's t; Gelman et al., "Bayesian
Data Analysis", 3.3). The further a plan's size is from those of earlier runs, the wider it is, as
in any regression. Without an earlier run the interval is `UNKNOWN_FACTOR` either way.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import exp, log, sqrt
from typing import Any, Self

import numpy as np

from pipeline.answering.prepare import Prepared
from pipeline.config.schema import Job, Price
from pipeline.engines.token_budget import EXPECTED_TOKENS_PER_WORD
from pipeline.runs.earlier_runs import EarlierRun, Work, earlier_runs, of_template
from pipeline.runs.interval import Interval, Outlook
from pipeline.runs.plan import WorkPlan
from pipeline.store.runs import latest_runs

PROBABILITY = 0.9
PRIOR_SPREAD, PRIOR_RUNS = 0.08, 3
"""By how much runs differ from a forecast before any says so, and how many runs that counts."""

PRIOR_SIZES = 4.0
"""Sum of squared distances of sizes, as logarithms, that one run stands for."""

UNKNOWN_FACTOR = 3.0
FEWEST_FITTED, LEAST_RANGE = 3, 2.0
"""Runs, and the range of their sizes, from which a constant beside the rate can be told."""

MOST_REPLICAS = 100_000


@dataclass(frozen=True, slots=True)
class PlannedWork:
    """What a plan has counted: generations, their prompt tokens by characters, the tokens expected
    of an answer without an earlier run, and verdicts with the tokens of their own.

    `length_ratio` is how long answers to these questions are beside those of earlier runs.
    """

    generations: int
    prompt_tokens: int
    answer_tokens: float
    length_ratio: float = 1.0
    verdicts: int = 0
    verdict_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Spread:
    """The sample of relative deviations that earlier runs have shown."""

    mean: float
    deviation: float
    freedom: int
    runs: int
    centre: float  # of the logarithms of their sizes
    sizes: float  # sum of squared distances from it

    @classmethod
    def of(cls, ratios: Sequence[float], sizes: Sequence[float], fitted: int = 1) -> Self:
        """From ratios of actual to fitted by `fitted` parameters."""
        logs, at = np.log(ratios), np.log(sizes)
        freedom = max(len(logs) - fitted, 0)
        squares = PRIOR_RUNS * PRIOR_SPREAD**2 + float(((logs - logs.mean()) ** 2).sum())
        deviation = sqrt(squares / (PRIOR_RUNS + freedom))
        distances = float(((at - at.mean()) ** 2).sum())
        return cls(
            float(logs.mean()),
            deviation,
            PRIOR_RUNS + freedom,
            len(logs),
            float(at.mean()),
            distances + PRIOR_SIZES,
        )

    def around(self, fitted: float, size: float) -> Interval:
        """The interval of a run of this size."""
        from scipy.stats import t

        distance = (log(size) - self.centre) ** 2 / self.sizes if size > 0 else 0.0
        deviation = self.deviation * sqrt(1 + 1 / self.runs + distance)
        reach = float(t.ppf((1 + PROBABILITY) / 2, self.freedom)) * deviation
        expected = fitted * exp(self.mean)
        return Interval(expected * exp(-reach), expected, expected * exp(reach))


UNKNOWN = Interval(1 / UNKNOWN_FACTOR, 1.0, UNKNOWN_FACTOR)


@dataclass(frozen=True, slots=True)
class Line:
    """Seconds of a run by the units of work of a replica."""

    begin: float
    constant: float
    per_unit: float
    spread: Spread

    @classmethod
    def through(cls, runs: Sequence[EarlierRun]) -> Self:
        load = np.array([run.load for run in runs])
        begin = float(np.mean([run.begin for run in runs]))
        seconds = np.array([run.total - run.begin for run in runs])
        constant, per_unit = _fit(load, seconds)
        fitted = begin + constant + per_unit * load
        ratios = [run.total / each for run, each in zip(runs, fitted, strict=True)]
        parameters = 2 if constant else 1
        return cls(begin, constant, per_unit, Spread.of(ratios, list(load), parameters))

    def seconds(self, units: float, replicas: int) -> Interval:
        load = units / replicas
        return self.spread.around(self.begin + self.constant + self.per_unit * load, load)

    def replicas_for(self, units: float, seconds: float) -> int | None:
        """The fewest that will be done in time, at worst; None if no number would."""
        low, high = 1, 1
        while self.seconds(units, high).high > seconds:
            low, high = high, high * 2
            if high > MOST_REPLICAS:
                return None
        while low < high:
            middle = (low + high) // 2
            is_enough = self.seconds(units, middle).high <= seconds
            low, high = (low, middle) if is_enough else (middle + 1, high)
        return high


def _fit(load: Any, seconds: Any) -> tuple[float, float]:
    """Constant and slope, neither below 0, that make the smallest relative deviations."""
    if len(load) >= FEWEST_FITTED and max(load) >= LEAST_RANGE * min(load):
        design = np.column_stack([1 / seconds, load / seconds])
        (constant, slope), *_ = np.linalg.lstsq(design, np.ones(len(load)), rcond=None)
        if constant >= 0 and slope > 0:
            return float(constant), float(slope)
    return 0.0, float(seconds.sum() / load.sum())


@dataclass(frozen=True, slots=True)
class Forecast:
    """Seconds and cost of a run; None where nothing tells them. `runs` are the earlier runs that it
    is made from, and `replicas_needed` would be done by the deadline.
    """

    seconds: Interval | None
    cost: Interval | None
    runs: tuple[str, ...]
    by_deadline: Outlook | None = None
    replicas_needed: int | None = None
    within_budget: Outlook | None = None


def make_forecast(
    job: Job,
    planned: PlannedWork,
    runs: Sequence[EarlierRun],
    tokens_per_second: float | None = None,
    seconds_to_deadline: float | None = None,
    template: tuple[str | None, str | None] | None = None,
) -> Forecast:
    """Forecasts a run of a plan that starts now.

    Its tokens go by the earlier runs with its `template`, a name and a version, if there are any;
    an engine's speed is the same with any.

    `tokens_per_second` is the rate of a replica, if it is known better than from earlier runs.
    """
    replicas, price = job.engine.replicas.max, job.report.price
    alike = of_template(runs, template)
    work = _expected_work(planned, alike)
    line = Line.through(runs) if runs else None
    seconds: Interval | None = None
    if not planned.generations and not planned.verdicts:
        seconds = Interval(0.0, 0.0, 0.0)
    elif tokens_per_second:
        seconds = UNKNOWN.times((work.prompt + work.completion) / tokens_per_second / replicas)
    elif line:
        seconds = line.seconds(work.units, replicas)
    cost = _cost(job, planned, work, alike, seconds) if price.is_given else None
    due, budget = seconds_to_deadline, job.budget
    return Forecast(
        seconds,
        cost,
        tuple(run.run_id for run in runs),
        seconds.within(due) if seconds and due is not None else None,
        line.replicas_for(work.units, due) if line and due is not None else None,
        cost.within(budget) if cost and budget is not None else None,
    )


def _expected_work(planned: PlannedWork, runs: Sequence[EarlierRun]) -> Work:
    """The tokens of a plan; without an earlier run, one attempt each and nothing from the cache."""
    if not runs:
        tokens = planned.generations * planned.answer_tokens
        return Work(planned.prompt_tokens, 0.0, tokens, float(planned.verdict_tokens))
    prompt, cached, estimated, completion, generations = (
        sum(getattr(run, name) for run in runs)
        for name in ("prompt", "cached", "estimated", "completion", "generations")
    )
    prompts = planned.prompt_tokens * prompt / (estimated or prompt or 1)
    answers = planned.generations * planned.length_ratio * completion / generations
    cached_share = cached / (prompt or 1)
    return Work(prompts, prompts * cached_share, answers, *_expected_of_verdicts(planned, runs))


def _expected_of_verdicts(
    planned: PlannedWork, runs: Sequence[EarlierRun]
) -> tuple[float, float, float]:
    """Tokens read, those of them from the cache, and tokens written."""
    judged = [run for run in runs if run.judged]
    if not judged:
        return float(planned.verdict_tokens), 0.0, 0.0
    each = planned.verdicts / sum(run.judged for run in judged)
    return (
        each * sum(run.judge_prompt for run in judged),
        each * sum(run.judge_cached for run in judged),
        each * sum(run.judge_completion for run in judged),
    )


def _cost(
    job: Job,
    planned: PlannedWork,
    work: Work,
    runs: Sequence[EarlierRun],
    seconds: Interval | None,
) -> Interval | None:
    """None if GPUs have a price and the time is not known."""
    price, gpus = job.report.price, job.engine.gpus * job.engine.replicas.max
    tokens = work.cost(price)
    of_tokens = UNKNOWN.times(tokens)
    if runs and tokens:
        of_tokens = _token_spread(price, runs).around(tokens, planned.generations or 1)
    if not gpus or price.gpu_hour is None:
        return of_tokens
    return of_tokens.plus(seconds.times(gpus * price.gpu_hour / 3600)) if seconds else None


def _token_spread(price: Price, runs: Sequence[EarlierRun]) -> Spread:
    """How far tokens of single runs cost something else than all of them together tell."""
    ratios = []
    for run in runs:
        planned = PlannedWork(run.generations, run.estimated, 0.0, verdicts=run.judged)
        expected = _expected_work(planned, runs).cost(price)
        ratios.append(run.work.cost(price) / expected if expected else 1.0)
    return Spread.of([ratio or 1.0 for ratio in ratios], [run.generations for run in runs])


def forecast_of(prepared: Prepared, plan: WorkPlan, rate: float | None = None) -> Forecast:
    """The forecast of a plan, from the latest runs of its store.

    `rate` is in tokens a second a GPU, or a replica without GPUs: for where it is known better than
    from earlier runs.
    """
    job, source = prepared.job, prepared.source
    runs = earlier_runs(latest_runs(prepared.store), job)
    deadline = job.deadline
    now = datetime.now(UTC)
    left = (deadline.after(now) - now).total_seconds() if deadline else None
    per_replica = rate * max(job.engine.gpus, 1) if rate else None
    template = (source.name, source.version)
    return make_forecast(job, _planned_work(prepared, plan), runs, per_replica, left, template)


def _planned_work(prepared: Prepared, plan: WorkPlan) -> PlannedWork:
    records, shared = plan.totals.standings["work"], plan.generations.shared()
    mean, judge = plan.mean_answer_tokens, prepared.judge
    verdicts = plan.to_judge + records if judge else 0
    return PlannedWork(
        records - shared.records,
        plan.prompt_tokens.total() - shared.prompt_tokens,
        prepared.job.answer.expected_words * EXPECTED_TOKENS_PER_WORD,
        plan.answer_tokens / records / mean if mean and plan.answer_tokens else 1.0,
        verdicts,
        verdicts * judge.template.estimated_tokens if judge else 0,
    )
