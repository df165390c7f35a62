"""What each stage costs one core, as plain functions without Ray."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from pipeline.answering.replica import Answerer, settle, to_batches, to_prompts
from pipeline.core.filesystem import Storage
from pipeline.prompting.template import load_prompt
from pipeline.reading.shards import list_shards
from pipeline.reading.source import read_tables
from pipeline.store.ledger import Ledger
from pipeline.store.parts import PartWriter
from pipeline.store.sink import Sink
from tests.support.jobs import job

T = TypeVar("T")

STAGES = (
    "read",
    "render, key, look up",
    "split into batches",
    "extract, check, build rows",
    "write Parquet",
)
NOTHING = Ledger.empty()


def stage_seconds(shards: Path, store: Path) -> dict[str, float]:
    """Seconds that one core spends in each stage on all records of a folder of shards."""
    night = job(shards, store, engine={"kind": "recorded"})
    storage = Storage()
    source = load_prompt(night.prompt.template, night.answer.max_words)
    listed = list_shards(str(shards), storage).shards
    answerer, loop = Answerer(night, source), asyncio.Runner()
    sink = Sink(str(store), storage, PartWriter("bench"), night.rows_per_file)
    spent = dict.fromkeys(STAGES, 0.0)
    settle()

    def timed(stage: str, call: Callable[[], T]) -> T:
        began = time.process_time()
        result = call()
        spent[stage] += time.process_time() - began
        return result

    waiting: list[pa.Table] = []
    tables = read_tables(listed, night.input, storage)
    while (items := timed("read", lambda: next(tables, None))) is not None:
        prompts = timed(STAGES[1], lambda t=items: to_prompts(t, night, source, NOTHING))
        packed = timed(STAGES[2], lambda t=prompts: to_batches(t, night, source, 1, 0))
        for at in range(packed.num_rows):
            table = packed.slice(at, 1)
            waiting.append(timed(STAGES[3], lambda t=table: loop.run(answerer(t))))
        if sum(t.num_rows for t in waiting) >= night.rows_per_file:
            timed(STAGES[4], lambda: sink.write(pa.concat_tables(waiting)))
            waiting.clear()
    timed(STAGES[4], lambda: sink.write(pa.concat_tables(waiting)))
    loop.close()
    return spent
