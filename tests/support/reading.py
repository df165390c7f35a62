"""Stores of answers that people are to read, made without a run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.core.filesystem import Location, Storage
from pipeline.store.parts import PartWriter
from pipeline.store.schema import ANSWERS, ANSWERS_FOLDER
from tests.support.export_rows import row
from tests.support.jobs import job
from tests.support.stores import store_run


def store_of(folder: Path, *parts: Sequence[dict[str, Any]]) -> Location:
    """A store with one part for each list of rows, the last one the newest."""
    store = Storage().at(str(folder))
    writer = PartWriter("run")
    for rows in parts:
        table = pa.Table.from_pylist(rows, schema=ANSWERS)
        writer.write(writer.new_part(store.join(ANSWERS_FOLDER)), table, ANSWERS)
    return store


def claim(kind: str, text: str = "n", check: str = "numbers") -> dict[str, Any]:
    return {"check": check, "kind": kind, "text": text, "start": 0, "end": len(text)}


def judgement(rater: str, value: str) -> dict[str, Any]:
    return {"rater": rater, "value": value}


def readable(record_id: str, **columns: Any) -> dict[str, Any]:
    """An answer with all that a page shows."""
    question = columns.get("question", f"What of {record_id}?")
    completion = {"completion": "c", "finish_reason": "stop", "failed_checks": [], "seconds": 0.1}
    tokens = {"prompt_tokens": 0, "cached_tokens": 0, "completion_tokens": 0}
    defaults = {
        "paper_id": f"paper of {record_id}",
        "question_id": "Q1",
        "question": question,
        "messages": [{"role": "user", "content": f"Herons nest.\n\n{question}"}],
        "prompt_key": "0" * 32,
        "prompt_name": "invented",
        "prompt_version": "1",
        "attempts": [{**completion, **tokens}],
        "word_count": 3,
        "input_repairs": [],
        "source_uri": "file:///shard.jsonl",
        "source_row": 0,
        **tokens,
    }
    return row(record_id, **{**defaults, **columns})


def a_run(folder: Path, rows: Sequence[dict[str, Any]]) -> str:
    """Stores answers with a run's file; returns the run's id."""
    config = job("shards", folder)
    run_id, store = store_run(config, 0), Storage().at(str(folder))
    writer = PartWriter(run_id)
    table = pa.Table.from_pylist(list(rows), schema=ANSWERS)
    writer.write(writer.new_part(store.join(ANSWERS_FOLDER)), table, ANSWERS)
    return run_id
