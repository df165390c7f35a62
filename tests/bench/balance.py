"""Eight simulated replicas over the published records: do they finish together?

A simulated replica takes its batches one after the other and sleeps as long as a steady engine
would need for their prompts and recorded answers. All else is the job's own flow, on a real Ray
cluster.
"""

import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
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
from pipeline.core.words import count_words
from pipeline.prompting.render import to_prompts
from pipeline.reading.source import read_tables
from pipeline.store.ledger import Ledger
from tests.support.jobs import job, unpacked

REPLICAS, IDEAL_SECONDS, ROUNDS = 8, 30.0, 3
FRESH = 0.45
"""Share of the prompt tokens that no cache supplies, about as measured for the prefix cache."""

LOG = "OVERNIGHT_BENCH_BALANCE"


@dataclass(frozen=True)
class Balance:
    """Seconds from the first batch to the last, over those that an even split would take."""

    ours: float
    default: float
    batches: int


class Simulated:
    """In place of `BatchWorker`, for packed batches."""

    def __init__(self, job: Job, source: Any, *others: Any) -> None:
        self._log = Path(os.environ[LOG], str(os.getpid()))
        self._rate = float(os.environ[f"{LOG}_RATE"])
        self._engine = asyncio.Lock()

    async def __call__(self, batch: pa.Table) -> pa.Table:
        _, rest = split_work(prompts := unpack(batch))
        await self.answer(prompts)
        return receipt(Totals.of(rest))

    async def answer(self, prompts: pa.Table) -> None:
        work = sum(_work(prompts))
        if not work:
            return
        async with self._engine:
            began = time.time()
            await asyncio.sleep(work / self._rate)
            with self._log.open("a") as log:
                log.write(json.dumps([began, time.time(), work]) + "\n")


class SimulatedPlain(Simulated):
    """For batches as Ray Data cuts them."""

    async def __call__(self, batch: pa.Table) -> pa.Table:
        await self.answer(batch)
        return pa.table({"receipt": [b""]})


def _work(prompts: pa.Table) -> Iterator[float]:
    work, _ = split_work(prompts)
    for prompt in table_prompts(work):
        computed = sum(len(m.content) for m in prompt.messages) / 4 * FRESH
        yield computed + count_words(prompt.record.recorded_answer or "") * 4 / 3


def section(scratch: Path) -> list[str]:
    """Its part of docs/benchmarks.md."""
    scratch.mkdir(parents=True)
    rounds = [balance(scratch / str(n), unpacked(scratch).records) for n in range(ROUNDS)]
    return [
        "## Replicas that finish together",
        "",
        f"{REPLICAS} simulated replicas over the 6,104 records of the published corpus; each takes "
        "time for a batch in proportion to the length of its prompts and recorded answers. Time "
        f"from the first batch to the last, divided by that of an even split ({IDEAL_SECONDS:.0f} "
        f"s): median of {ROUNDS} rounds (least to most). Everything but the engine is the job's "
        "own, on a Ray cluster.",
        "",
        "| dispatch | time ÷ even split |",
        "|---|---:|",
        f"| the job's batches, {rounds[0].batches} of them | {_spread([r.ours for r in rounds])} |",
        f"| Ray Data's default | {_spread([r.default for r in rounds])} |",
        "",
    ]


def _spread(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"


def balance(scratch: Path, records: Path) -> Balance:
    """Runs both ways over the same records, one after the other."""
    scratch.mkdir()
    simulated = job(
        records,
        scratch / "store",
        200,
        engine={
            "kind": "openai",
            "model": "simulated",
            "replicas": REPLICAS,
            "options": {"base_url": "http://127.0.0.1:9/v1"},
        },
    )
    prepared = prepare(simulated)
    total = sum(_all_work(prepared))
    measured = {}
    for name, run_flow in (("ours", _ours), ("default", _default)):
        log = scratch / name
        log.mkdir()
        rate = total / REPLICAS / IDEAL_SECONDS
        environment = patch.dict(os.environ, {LOG: str(log), f"{LOG}_RATE": str(rate)})
        with environment, RayData(simulated.engine) as executor:
            run_flow(prepared, executor)
        spans = [json.loads(line) for file in log.iterdir() for line in file.open()]
        assert abs(sum(work for *_, work in spans) - total) < 1  # every record once
        seconds = max(end for _, end, _ in spans) - min(began for began, *_ in spans)
        measured[name] = seconds / IDEAL_SECONDS, len(spans)
        print(f"{name}: {measured[name]}", file=sys.stderr, flush=True)
    return Balance(measured["ours"][0], measured["default"][0], measured["ours"][1])


def _ours(prepared: Prepared, executor: RayData) -> None:
    with patch.object(flow, "BatchWorker", Simulated):
        for _ in flow.outcomes(prepared, executor, "bench"):
            pass


def _default(prepared: Prepared, executor: RayData) -> None:
    """The same prompts in the order in which they are read, as `map_batches` deals them out."""
    flow.read_prompts(prepared, executor, Ledger.empty, Identities()).dataset.map_batches(
        SimulatedPlain,
        fn_constructor_args=(prepared.job, prepared.source),
        batch_format="pyarrow",
        batch_size=prepared.job.rows_per_file,
        compute=ActorPoolStrategy(size=REPLICAS),
        num_cpus=1,
        memory=REPLICA_MEMORY_BYTES,
    ).materialize()


def _all_work(prepared: Prepared) -> Iterator[float]:
    for items in read_tables(prepared.listing.shards, prepared.job.input, prepared.storage):
        yield from _work(
            to_prompts(items, prepared.job, prepared.source, Ledger.empty, Identities())
        )
