"""Ten runs that each followed a plan: how close its forecast of time and cost came."""

import random
from pathlib import Path

from pipeline.answering.prepare import prepare
from pipeline.cluster.in_process import InProcess
from pipeline.config.schema import Job
from pipeline.runs.execute import execute
from pipeline.runs.forecast import forecast_of
from pipeline.runs.interval import Interval
from pipeline.runs.plan import make_plan
from tests.support.jobs import BETTER_PROMPT, ROOT, ignore, job, rows, selection, write_jsonl
from tests.support.scripted import Pace, uneven

RUNS, FEWEST, MOST = 10, 150, 900
SECONDS_PER_TOKEN, CONCURRENT = 0.008, 24
TEMPLATES = [BETTER_PROMPT, str(ROOT / "conf" / "prompts" / "context-first.md")]


def section(folder: Path) -> list[str]:
    """Plans and runs; the first run only measures."""
    chance, lines = random.Random(7), list[str]()
    shards = write_jsonl(folder / "in" / "a.jsonl", rows(range((RUNS + 1) * MOST))).parent
    inside = {"seconds": 0, "cost": 0}
    pace = Pace(SECONDS_PER_TOKEN)
    with uneven(pace) as url:
        for number in range(RUNS + 1):
            pace.seconds_per_token = SECONDS_PER_TOKEN * chance.lognormvariate(0, 0.05)
            pace.length = chance.lognormvariate(0, 0.03)
            template = TEMPLATES[number % 3 == 2]
            records = chance.randint(FEWEST, MOST)
            made = _followed(_job(url, shards, folder / "store", template), records)
            if number:
                lines.append(f"| {number} | {records:,} | {Path(template).stem} | {_cells(made)} |")
                for name, (forecast, actual) in made.items():
                    inside[name] += forecast.low <= actual <= forecast.high
    return [
        "## Forecasts of `plan`",
        "",
        f"An endpoint with answers of uneven lengths, {CONCURRENT} at a time, of which 8 % are "
        "repaired; its speed differs by 5 % from run to run, the lengths by 3 %. Runs in one "
        "process answer a part of the input each, after a plan for that part. Within low to high: "
        f"{inside['seconds']} of {RUNS} times, {inside['cost']} of {RUNS} costs.",
        "",
        "| run | records | template | seconds: low, expected, high | took | off | "
        "cost: low, expected, high | was | off |",
        "|---:|---:|---|---|---:|---:|---|---:|---:|",
        *lines,
        "",
    ]


def _job(url: str, shards: Path, store: Path, template: str) -> Job:
    options = {"base_url": f"{url}/v1", "concurrency": CONCURRENT}
    return job(
        shards,
        store,
        200,
        prompt=template,
        engine={"kind": "openai", "model": "uneven", "options": options},
        report={"price": {"prompt": 100, "cached": 10, "completion": 400}},
        failure_budget=1.0,
    )


def _followed(task: Job, records: int) -> dict[str, tuple[Interval, float]]:
    """The forecast of a plan, and what became of it; without an earlier run all is nothing."""
    prepared = prepare(task, selection(task, limit=records))
    forecast = forecast_of(prepared, make_plan(prepared, InProcess(), ignore))
    document = execute(prepared, InProcess())
    nothing = Interval(0.0, 0.0, 0.0)
    return {
        "seconds": (forecast.seconds or nothing, document["timings"]["total"]),
        "cost": (forecast.cost or nothing, document["cost"]["total"]),
    }


def _cells(made: dict[str, tuple[Interval, float]]) -> str:
    cells = []
    for forecast, actual in made.values():
        between = ", ".join(f"{value:.3g}" for value in forecast)
        cells += [between, f"{actual:.3g}", f"{forecast.expected / actual - 1:+.0%}"]
    return " | ".join(cells)
