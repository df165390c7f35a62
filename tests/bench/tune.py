"""`overnight tune` beside an exhaustive grid over the same three options: what it finds, and when.

Every setting of the grid has an engine of its own and answers the whole sample once, as a person
would do it by hand. The settings that either finds are then measured again in turn.

The speed of a machine that others share changes by up to a quarter within minutes. Each trial's
seconds are therefore those at the speed that the machine had at first, as `Steadied` tells.
"""

import statistics
import sys
import time
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.answering.prepare import prepare
from pipeline.core.filesystem import Storage
from pipeline.engines.vllm_processes import processes_ended
from pipeline.runs.tuning.axis import Axis, Settings
from pipeline.runs.tuning.engine_bench import EngineBench
from pipeline.runs.tuning.halving import Search
from pipeline.runs.tuning.sample import sampled_prompts
from pipeline.store.trials import Trial, TrialFile
from tests.bench.engines import OPTIONS
from tests.support.jobs import BETTER_PROMPT, unpacked, vllm_job, write_jsonl
from tests.support.models import MIDDLING, make_model
from tests.support.structured import as_row, structured

PAPERS, ANSWER_TOKENS, SAMPLE, ROUNDS = 5, 32, 128, 3
PRESENT = {**OPTIONS, "max_num_seqs": 8, "max_num_batched_tokens": 1024, "block_size": 32}
AXES = (
    Axis("max_num_seqs", 8, (16, 32, 64), in_order=True),
    Axis("max_num_batched_tokens", 1024, (2048, 4096), in_order=True),
    Axis("block_size", 32, (64, 128), in_order=True),
)
"""36 settings in all."""

HOURS, PROBE_SECONDS = 4 * 3600.0, 1.0


class Steadied:
    """A bench whose trials take the seconds that they would take at the machine's first speed.

    The speed is how often the machine multiplies a batch with weights like a model's, which no
    cache holds, in the second before and the second after a trial.
    """

    def __init__(self, bench: EngineBench) -> None:
        self._bench = bench
        chance = np.random.default_rng(0)
        self._weights = chance.random((5000, 5000), np.float32)
        self._batch = chance.random((5000, 32), np.float32)
        self._first = self._speed()

    def measure(self, settings: Settings, records: int, turn: int, limit: float) -> Trial:
        before = self._speed()
        trial = self._bench.measure(settings, records, turn, limit)
        speed = (before + self._speed()) / 2 / self._first
        print(f"speed {speed:.2f}", file=sys.stderr)
        return replace(
            trial,
            seconds=trial.seconds * speed,
            start=trial.start * speed,
            cost=trial.cost * speed,
        )

    def starts(self, settings: Settings) -> bool:
        return self._bench.starts(settings)

    def close_engine(self) -> None:
        self._bench.close_engine()

    def close(self) -> None:
        self._bench.close()

    def _speed(self) -> float:
        """Products a second."""
        began, products = time.monotonic(), 0
        while (took := time.monotonic() - began) < PROBE_SECONDS:
            self._weights @ self._batch
            products += 1
        return products / took


@dataclass(frozen=True)
class Found:
    """Settings and how many seconds it took to find them."""

    settings: dict[str, Any]
    seconds: float
    engines: int


@dataclass(frozen=True)
class Comparison:
    """What both ways found; `ratios` are tune's rate over the grid's, round by round."""

    tuned: Found
    grid: Found
    present_ratio: float
    ratios: list[float]


def compare(
    scratch: Path, papers: int = PAPERS, sample: int = SAMPLE, axes: tuple[Axis, ...] = AXES
) -> Comparison:
    scratch.mkdir(parents=True)
    bench = Steadied(_bench(scratch, papers, sample))
    with processes_ended():
        tuned = _tuned(bench, scratch, sample, axes)
        grid, present = _grid(bench, sample, axes)
        rounds = range(1, ROUNDS + 1)
        pairs = [
            [_exact(bench, found.settings, sample).rate for found in (tuned, grid)] for _ in rounds
        ]
        bench.close()
    return Comparison(tuned, grid, present, sorted(one / other for one, other in pairs))


def _bench(scratch: Path, papers: int, sample: int) -> EngineBench:
    records = [record for paper in structured(unpacked(scratch), papers) for record in paper]
    write_jsonl(scratch / "shards/records.jsonl", list(map(as_row, records)))
    texts = [p.text for record in records for p in record.passages]
    job = vllm_job(
        make_model(scratch / "model", MIDDLING, texts=texts),
        scratch / "shards",
        scratch / "store",
        PRESENT,
        prompt={"template": BETTER_PROMPT, "passages": "shared_first"},
        sampling={"max_tokens": ANSWER_TOKENS, "ignore_eos": True, "temperature": 0.0},
    )
    return EngineBench(job, sampled_prompts(prepare(job), sample))


def _tuned(bench: Steadied, scratch: Path, sample: int, axes: tuple[Axis, ...]) -> Found:
    """As the command does it, with these options."""
    made: list[Trial] = []
    file = TrialFile(Storage().at(str(scratch / "store")), {})

    def show(trial: Trial) -> None:
        made.append(trial)
        _show("tune", trial)

    search = Search(bench, file, HOURS, show)
    search.begin(sample)
    search.explore(axes)
    search.confirm()
    return _found(search.best, made)


def _grid(bench: Steadied, sample: int, axes: tuple[Axis, ...]) -> tuple[Found, float]:
    """The best of all settings, and its rate over that of the present ones."""
    trials: list[Trial] = []
    for values in product(*((axis.present, *axis.values) for axis in axes)):
        named = zip((axis.option for axis in axes), values, strict=True)
        trials.append(_exact(bench, {n: v for n, v in named if v != PRESENT[n]}, sample))
        _show("grid", trials[-1])
    best = max(trials, key=lambda trial: trial.rate)
    return _found(best.settings, trials), best.rate / trials[0].rate


def _found(settings: Settings, trials: list[Trial]) -> Found:
    starts = sum(trial.start > 0 for trial in trials)
    return Found(dict(settings), sum(trial.cost for trial in trials), starts)


def _exact(bench: Steadied, settings: dict[str, Any], sample: int) -> Trial:
    bench.close_engine()
    return bench.measure(settings, sample, 1, HOURS)


def _show(way: str, trial: Trial) -> None:
    rate = f"{trial.rate:.2f} records/s"
    print(way, dict(trial.settings), trial.records, trial.failed or rate, file=sys.stderr)


def section(scratch: Path) -> list[str]:
    """Its part of docs/benchmarks.md."""
    found = compare(scratch)
    median, least, most = statistics.median(found.ratios), found.ratios[0], found.ratios[-1]
    options = "; ".join(f"`{a.option}` {a.present}, {_listed(a.values)}" for a in AXES)
    return [
        "## Tuning an engine",
        "",
        f"`overnight tune` beside an exhaustive grid over three options ({options}; the job's own "
        f"first), each setting of which has an engine of its own and answers {SAMPLE} records: "
        f"{PAPERS} papers of the published corpus, {ANSWER_TOKENS} tokens an answer, a Llama of 25 "
        "million random parameters, the CPU build of vLLM. Seconds are those until the settings "
        "are known, the starts of engines and tune's own second look included. They are at the "
        "speed that the machine had at first, which is measured before and after each trial: other "
        "work on the same host changes it by up to a quarter.",
        "",
        "| way | engines started | seconds | found |",
        "|---|---:|---:|---|",
        _row("grid", found.grid),
        _row("`tune`", found.tuned),
        "",
        f"`tune` took {found.tuned.seconds / found.grid.seconds:.2f} of the grid's time. Its "
        f"settings, measured again in turn with those of the grid, {ROUNDS} rounds, are "
        f"{median:.3f} × as fast ({least:.3f} to {most:.3f}){_same(found)}; the grid's were "
        f"{found.present_ratio:.2f} × as fast as the job's own.",
        "",
    ]


def _same(found: Comparison) -> str:
    is_same = found.tuned.settings == found.grid.settings
    return ", which is noise, as they are the same" if is_same else ""


def _row(way: str, found: Found) -> str:
    named = ", ".join(f"`{n}={v}`" for n, v in found.settings.items()) or "the job's own"
    return f"| {way} | {found.engines} | {found.seconds:,.0f} | {named} |"


def _listed(values: tuple[Any, ...]) -> str:
    return ", ".join(map(str, sorted(values)))
