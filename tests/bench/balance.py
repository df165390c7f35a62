"""Eight simulated replicas: do they finish together, with answers as long as models think?

Over the published records in real time, on a real Ray cluster: all but the engine is the job's own
flow. Over generated papers in simulated time: many more records, and larger engines.
"""

import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow as pa
from ray.data import ActorPoolStrategy

from pipeline import flow
from pipeline.answering.prepare import Prepared, prepare
from pipeline.cluster.identities import Identities
from pipeline.cluster.ray_data import RayData
from pipeline.cluster.session import REPLICA_MEMORY_BYTES
from pipeline.config.schema import Job
from pipeline.core.accounting import Totals
from pipeline.core.arrow import receipt, split_work, table_prompts, unpack
from pipeline.core.records import Prompt
from pipeline.prompting.render import to_prompts
from pipeline.reading.source import read_blocks
from pipeline.store.ledger import Ledger
from pipeline.store.lengths import Lengths
from tests.support.fleet import Asked, SimulatedEngine, drawn_tokens, least_seconds
from tests.support.generated_papers import QUESTIONS, Papers, measured, papers
from tests.support.jobs import job, unpacked
from tests.support.lengths import lengths_of

REPLICAS, SEQUENCES, LEAST_SECONDS, ROUNDS = 8, 32, 30.0, 3
FRESH = 0.45
"""Share of the prompt tokens that no cache supplies, about as measured for the prefix cache."""

OTHER_ROWS, OTHER_BATCHES = 32, 8
"""Records of a batch and batches at a time, as `ray.data.llm` has them by default."""

FLEETS = ((218, 32), (1000, 32), (1000, 128), (3600, 128), (3600, 256))
"""Papers, and sequences of each engine."""

SEEDS = 3

LOG = "OVERNIGHT_BENCH_BALANCE"


@dataclass
class Pace:
    """An engine of simulated time that keeps pace with the clock."""

    engine: SimulatedEngine
    scale: float  # seconds of the clock for each of simulated time
    waiting: dict[int, asyncio.Future[None]] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=count)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    seen: float = field(default_factory=time.monotonic)

    async def answer(self, prompts: list[Asked]) -> None:
        self._catch_up()
        number = next(self.numbers)
        self.waiting[number] = asyncio.get_running_loop().create_future()
        self.engine.add(number, prompts)
        self.changed.set()
        await self.waiting[number]

    async def keep(self) -> None:
        while True:
            self.changed.clear()
            with suppress(TimeoutError):
                seconds = min(self.engine.next_seconds() * self.scale, 3600.0)
                await asyncio.wait_for(self.changed.wait(), seconds)
            self._catch_up()

    def _catch_up(self) -> None:
        now = time.monotonic()
        left, self.seen = (now - self.seen) / self.scale, now
        while left > 0:
            step = min(left, self.engine.next_seconds())
            left -= step
            for number in self.engine.advance(step):
                self.waiting.pop(number).set_result(None)


class Simulated:
    """In place of `BatchWorker`, for packed batches."""

    def __init__(self, job: Job, source: Any, *others: Any) -> None:
        self._log = Path(os.environ[LOG], str(os.getpid()))
        self._pace: Pace | None = None
        self._keeping: asyncio.Task[None] | None = None

    async def __call__(self, batch: pa.Table) -> pa.Table:
        _, rest = split_work(prompts := unpack(batch))
        await self.answer(prompts)
        return receipt(Totals.of(rest))

    async def answer(self, prompts: pa.Table) -> None:
        if not (asked := list(_asked(prompts))):
            return
        if self._pace is None:
            self._pace = Pace(SimulatedEngine(SEQUENCES), float(os.environ[f"{LOG}_SCALE"]))
            self._keeping = asyncio.create_task(self._pace.keep())
        began = time.time()
        await self._pace.answer(asked)
        with self._log.open("a") as log:
            log.write(json.dumps([began, time.time(), len(asked)]) + "\n")


class SimulatedPlain(Simulated):
    """For batches as Ray Data cuts them."""

    async def __call__(self, batch: pa.Table) -> pa.Table:
        await self.answer(batch)
        return pa.table({"receipt": [b""]})


def _asked(prompts: pa.Table) -> Iterator[Asked]:
    work, _ = split_work(prompts)
    for prompt in table_prompts(work):
        yield Asked(_tokens(prompt), sum(len(m.content) for m in prompt.messages) / 4 * FRESH)


def _tokens(prompt: Prompt) -> int:
    return drawn_tokens(prompt.record.record_id, prompt.record.question or "")


def section(scratch: Path) -> list[str]:
    """Its part of docs/benchmarks.md."""
    scratch.mkdir(parents=True)
    rounds = [balance(scratch / str(n), unpacked(scratch).records) for n in range(ROUNDS)]
    return [
        "## Replicas that finish together",
        "",
        f"{REPLICAS} simulated replicas. Each computes {SEQUENCES} sequences at a time, a token of "
        "each in a step; a step takes 8 ms, and 0.08 ms for each of them; a prompt costs 0.032 ms "
        "for each token that no cache holds. Answers are as long as models think: a lognormal "
        "distribution with a mean of 1,500 tokens and a sigma of 1, cut off at 8,192, a quarter of "
        "whose variance is the question's. Time from the first batch to the last, divided by the "
        "least that is possible: all engines full to the end, or the longest answer alone if that "
        "takes longer.",
        "",
        f"The 6,104 records of the published corpus on a Ray cluster, everything but the engine as "
        f"in any run, at such a pace that the least is {LEAST_SECONDS:.0f} s: median of {ROUNDS} "
        "rounds (least to most).",
        "",
        "| dispatch | time ÷ least |",
        "|---|---:|",
        *(f"| {name} | {_spread([r[name] for r in rounds])} |" for name in rounds[0]),
        "",
        f"Generated papers in simulated time, median of {SEEDS} draws. Earlier runs told nothing; "
        "how long the answers to each question were; how long the answers of these very records "
        "were, and they are as long again. The last column is what is read of the prompts' tokens "
        "in these batches, over what whole papers would take.",
        "",
        "| records | sequences | nothing known | by question | by record | read |",
        "|---:|---:|---:|---:|---:|---:|",
        *(_simulated(number, sequences) for number, sequences in FLEETS),
        "",
    ]


def _simulated(number: int, sequences: int) -> str:
    rows = [_ratios(papers(number, seed), sequences) for seed in range(SEEDS)]
    cells = [f"{statistics.median(column):.3f}" for column in zip(*rows, strict=True)]
    return f"| {number * QUESTIONS:,} | {sequences} | {' | '.join(cells)} |"


def _ratios(generated: Papers, sequences: int) -> list[float]:
    """Of each kind of estimate, then what is read of the prompts' tokens."""
    run = partial(measured, generated, replicas=REPLICAS, sequences=sequences)
    nothing = [round(statistics.mean(generated.answers))] * len(generated.answers)
    by_question = generated.lengths().expected(["new"] * len(nothing), generated.questions)
    known = run(expected=generated.answers)
    whole = sum(sum(group.fresh) for group in generated.groups) / sum(generated.characters)
    ratios = [run(expected=expected).ratio for expected in (nothing, by_question)]
    return [*ratios, known.ratio, (1 - known.cached) / whole]


def _spread(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"


def balance(scratch: Path, records: Path) -> dict[str, float]:
    """Runs all ways over the same records, one after the other."""
    scratch.mkdir()
    simulated = job(
        records,
        scratch / "store",
        200,
        engine={
            "kind": "openai",
            "model": "simulated",
            "replicas": REPLICAS,
            "options": {"base_url": "http://127.0.0.1:9/v1", "concurrency": SEQUENCES},
        },
    )
    prepared = prepare(simulated)
    prompts = list(_all_prompts(prepared))
    asked = [asked for table in prompts for asked in _asked(table)]
    scale = LEAST_SECONDS / least_seconds(asked, REPLICAS, SEQUENCES)
    ways = {
        "the job's batches": partial(_ours, lengths=None),
        "the same, with the lengths of an earlier run": partial(_ours, lengths=_lengths(prompts)),
        f"batches of {OTHER_ROWS}, {OTHER_BATCHES} at a time, as `ray.data.llm` does": _plain,
    }
    ratios = {}
    for number, (name, run_flow) in enumerate(ways.items()):
        log = scratch / str(number)
        log.mkdir()
        environment = patch.dict(os.environ, {LOG: str(log), f"{LOG}_SCALE": str(scale)})
        with environment, RayData(simulated.engine) as executor:
            run_flow(prepared, executor)
        spans = [json.loads(line) for file in log.iterdir() for line in file.open()]
        assert sum(rows for *_, rows in spans) == len(asked)  # every record once
        seconds = max(end for _, end, _ in spans) - min(began for began, *_ in spans)
        ratios[name] = seconds / LEAST_SECONDS
        print(f"{name}: {ratios[name]:.3f}, {len(spans)} batches", file=sys.stderr, flush=True)
    return ratios


def _ours(prepared: Prepared, executor: RayData, lengths: Lengths | None) -> None:
    with (
        patch.object(flow, "BatchWorker", Simulated),
        patch.object(flow, "lengths_of", lambda *_: lengths),
    ):
        for _ in flow.outcomes(prepared, executor, "bench"):
            pass


def _lengths(prompts: list[pa.Table]) -> Lengths:
    every = [p for table in prompts for p in table_prompts(split_work(table)[0])]
    ids, questions = (
        [getattr(p.record, n) or "" for p in every] for n in ("record_id", "question")
    )
    return lengths_of(ids, questions, [_tokens(p) for p in every])


def _plain(prepared: Prepared, executor: RayData) -> None:
    """The same prompts in the order in which they are read, as `map_batches` deals them out."""
    prompts = flow.read_prompts(prepared, executor, Ledger.empty, lambda read: read, waits=False)
    prompts.dataset.map_batches(
        SimulatedPlain,
        fn_constructor_args=(prepared.job, prepared.source),
        batch_format="pyarrow",
        batch_size=OTHER_ROWS,
        compute=ActorPoolStrategy(
            size=REPLICAS,
            max_concurrent_calls_per_actor=OTHER_BATCHES,
            max_tasks_in_flight_per_actor=2 * OTHER_BATCHES,
        ),
        num_cpus=1,
        memory=REPLICA_MEMORY_BYTES,
    ).materialize()


def _all_prompts(prepared: Prepared) -> Iterator[pa.Table]:
    for items in read_blocks(prepared.listing.shards, prepared.job.input, prepared.storage):
        yield to_prompts(items, prepared.job, prepared.source, Ledger.empty, Identities())
