"""What `plan` says of the time and the cost of a run, against runs that followed it."""

import random
from dataclasses import replace

import pytest

from pipeline.runs.earlier_runs import EarlierRun, earlier_runs, of_template
from pipeline.runs.forecast import UNKNOWN_FACTOR, Line, PlannedWork, make_forecast
from pipeline.runs.interval import Interval
from tests.support.jobs import job

REPLICAS = 2
TASK = job(
    "in",
    "out",
    engine={"kind": "openai", "model": "m", "replicas": REPLICAS},
    report={"price": {"prompt": 1, "cached": 0.1, "completion": 4}},
)


def ran(
    chance: random.Random, records: int, template: str = "t", length: float = 150
) -> EarlierRun:
    """A run on a scripted clock: lengths of single answers, repairs, the share of the cache and the
    speed of the machine all differ from run to run.
    """
    answers = [length * chance.lognormvariate(0, 0.5) for _ in range(records)]
    repaired = sum(chance.random() < 0.08 for _ in range(records))
    completion = sum(answers) * (1 + repaired / records) * chance.lognormvariate(0, 0.03)
    estimated = records * chance.randint(280, 320)
    prompt = estimated * 1.1 * (1 + repaired / records)
    cached = prompt * chance.uniform(0.45, 0.55)
    speed = 8_000 * chance.lognormvariate(0, 0.05)  # of a replica, in units of work a second
    seconds = (prompt - cached + 4 * completion) / REPLICAS / speed
    begin = 20 * chance.uniform(0.9, 1.15)
    total = begin + seconds + 5 * chance.uniform(0.6, 1.5)  # the last answers are waited for
    tokens = (int(prompt), int(cached), int(completion))
    name = (template, "1")
    return EarlierRun(
        f"{chance.random()}", name, records, estimated, *tokens, 0, 0, 0, 0, REPLICAS, begin, total
    )


@pytest.mark.parametrize("seed", range(10))
def test_ten_runs_that_followed_a_plan_are_within_its_forecast(seed):
    chance = random.Random(seed)
    runs = [ran(chance, chance.randint(100, 2000))]
    inside, off = 0, list[float]()
    for _ in range(10):
        records = chance.randint(100, 2000)
        new = ran(chance, records)
        forecast = make_forecast(TASK, PlannedWork(records, new.estimated, 500), runs)
        actual = new.total, new.work.cost(TASK.report.price)
        for interval, value in zip((forecast.seconds, forecast.cost), actual, strict=True):
            inside += interval.low <= value <= interval.high
            off.append(abs(interval.expected / value - 1))
        runs.append(new)
    assert inside >= 18
    assert sum(error <= 0.15 for error in off) >= 18


def test_more_runs_and_nearer_sizes_make_a_narrower_forecast():
    chance = random.Random(1)
    runs = [ran(chance, 500) for _ in range(8)]

    def width(records: int, of: int) -> float:
        seconds = Line.through(runs[:of]).seconds(800.0 * records, REPLICAS)
        return seconds.high / seconds.low

    assert width(500, of=8) < width(500, of=1) < width(50_000, of=1)


def test_without_an_earlier_run_the_interval_is_wide_and_the_time_unknown():
    forecast = make_forecast(TASK, PlannedWork(1000, 300_000, 400), [])
    paid = (300_000 + 4 * 400_000) / 1e6
    assert forecast.cost == pytest.approx((paid / UNKNOWN_FACTOR, paid, paid * UNKNOWN_FACTOR))
    assert forecast.seconds is None
    with_rate = make_forecast(TASK, PlannedWork(1000, 300_000, 400), [], tokens_per_second=1000)
    assert with_rate.seconds is not None
    assert with_rate.seconds.expected == pytest.approx(700_000 / 1000 / REPLICAS)


@pytest.mark.parametrize(
    ("limit", "outlook"), [(13, "yes"), (11, "likely"), (9, "unlikely"), (7, "no")]
)
def test_an_outlook_says_where_a_limit_lies(limit, outlook):
    assert Interval(8, 10, 12).within(limit) == outlook


def test_a_deadline_has_a_number_of_replicas_that_would_do_or_none():
    runs = [ran(random.Random(n), 400) for n in range(4)]
    planned = PlannedWork(40_000, 12_000_000, 400)
    alone = make_forecast(TASK, planned, runs).seconds
    assert alone
    tight = make_forecast(TASK, planned, runs, seconds_to_deadline=alone.low / 3)
    assert (tight.by_deadline, tight.replicas_needed) > ("no", 3 * REPLICAS)
    engine = TASK.engine.model_copy(
        update={
            "replicas": TASK.engine.replicas.model_copy(
                update={"min": tight.replicas_needed, "max": tight.replicas_needed}
            )
        }
    )
    enough = make_forecast(
        TASK.model_copy(update={"engine": engine}), planned, runs, None, alone.low / 3
    )
    assert enough.by_deadline == "yes"
    hopeless = make_forecast(TASK, planned, runs, seconds_to_deadline=1.0)
    assert (hopeless.by_deadline, hopeless.replicas_needed) == ("no", None)


def test_verdicts_cost_what_those_of_earlier_runs_did():
    one = replace(ran(random.Random(0), 100), judged=100, judge_prompt=60_000, judge_completion=200)
    planned = PlannedWork(200, one.estimated * 2, 400, verdicts=200)
    forecast = make_forecast(TASK, planned, [one])
    assert forecast.cost
    assert forecast.cost.expected == pytest.approx(2 * one.work.cost(TASK.report.price), rel=1e-3)


def test_longer_questions_cost_more():
    runs = [ran(random.Random(n), 400) for n in range(3)]
    short, long_ = (
        make_forecast(TASK, PlannedWork(400, 120_000, 400, ratio), runs) for ratio in (1.0, 1.5)
    )
    assert long_.cost.expected > 1.3 * short.cost.expected
    assert long_.seconds.expected > short.seconds.expected


def run_file(**changes) -> dict:
    return {
        "run_id": "r",
        "command": "run",
        "status": "done",
        "job": TASK.model_dump(mode="json"),
        "prompt": {"name": "t", "version": "1"},
        "counts": {"answered": 100},
        "sums": {"prompt_tokens": 900, "completion_tokens": 90, "estimated_prompt_tokens": 800},
        "timings": {"cluster_ready": 5.0, "engines_ready": 9.0, "total": 20.0},
        "replicas": [{"seconds": 12.0}] * 2,
        **changes,
    }


def test_runs_of_the_same_template_are_preferred_and_those_of_other_models_left_out():
    other = run_file(run_id="other", prompt={"name": "u", "version": "1"})
    model = {**TASK.model_dump(mode="json")}
    model["engine"] = {**model["engine"], "model": "another"}
    files = [run_file(), other, run_file(job=model)]
    runs = earlier_runs(files, TASK)
    assert [run.run_id for run in runs] == ["r", "other"]
    assert [run.run_id for run in of_template(runs, ("t", "1"))] == ["r"]
    assert of_template(runs, ("new", "1")) == runs
    assert runs[0].begin == 9.0


@pytest.mark.parametrize(
    "changes",
    [{"status": "interrupted"}, {"command": "recheck"}, {"counts": {"answered": 3}}, {"sums": {}}],
)
def test_a_run_that_measured_little_tells_nothing(changes):
    assert EarlierRun.of(run_file(**changes)) is None
