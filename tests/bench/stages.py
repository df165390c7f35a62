"""What each stage costs one core, as plain functions without Ray."""

import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pipeline.answering.evaluate import Evaluator
from pipeline.answering.replica import BatchWorker
from pipeline.cluster.identities import Identities
from pipeline.core.filesystem import Storage
from pipeline.core.processes import set_up_worker
from pipeline.prompting.batching import to_batches
from pipeline.prompting.render import to_prompts
from pipeline.prompting.template import load_prompt
from pipeline.reading.shards import list_shards
from pipeline.reading.source import read_blocks
from pipeline.store.ledger import Ledger
from pipeline.store.parts import PartWriter
from pipeline.store.sink import Sink
from tests.support.jobs import job

T = TypeVar("T")

STAGES = (
    "read",
    "render, key, look up",
    "split into batches",
    "extract, check, write Parquet",
)


def stage_seconds(shards: Path, store: Path, options: Mapping[str, Any]) -> dict[str, float]:
    """Seconds that one core spends in each stage on all records of a folder of shards."""
    recorded = job(shards, store, engine={"kind": "recorded"}, **options)
    storage = Storage()
    source = load_prompt(recorded.prompt.template, recorded.answer)
    blocks = read_blocks(list_shards(str(shards), storage).shards, recorded.input, storage)
    sink = Sink(str(store), storage, PartWriter("bench"), recorded.rows_per_file)
    worker, loop = BatchWorker(recorded, source, Evaluator.of(recorded), sink), asyncio.Runner()
    seconds = dict.fromkeys(STAGES, 0.0)
    set_up_worker()

    def timed(stage: str, call: Callable[[], T]) -> T:
        began = time.process_time()
        result = call()
        seconds[stage] += time.process_time() - began
        return result

    while (items := timed("read", lambda: next(blocks, None))) is not None:
        prompts = timed(
            STAGES[1],
            lambda t=items: to_prompts(
                t, recorded, source, Ledger.empty, Identities(), keeps_passages=False
            ),
        )
        packed = timed(STAGES[2], lambda t=prompts: to_batches(t, recorded, source, 1))
        for at in range(packed.num_rows):
            table = packed.slice(at, 1)
            timed(STAGES[3], lambda t=table: loop.run(worker(t)))
    loop.close()
    return seconds
