"""Stores of answers that no run has written: rows given by the columns that matter to a test."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.core.filesystem import Location, Storage
from pipeline.store.parts import PartWriter
from pipeline.store.schema import ANSWERS, ANSWERS_FOLDER

NOW = datetime(2026, 11, 29, 3, tzinfo=UTC)


def answer_row(record_id: str, answer: str = "Ten herons.", **columns: Any) -> dict[str, Any]:
    """A row of `answers/`; its paper and question are the two halves of `<paper>_<question>`."""
    paper, _, question = record_id.rpartition("_")
    return {
        "record_id": record_id,
        "paper_id": paper or None,
        "question_id": question,
        "question": f"What of {question}?",
        "model": "heron",
        "generation_key": f"key of {columns.get('model', 'heron')}",
        "answer": answer,
        "status": "answered",
        "stance": "answered",
        "messages": [{"role": "user", "content": "Rain fell. What was seen?"}],
        "attempts": [],
        "failed_checks": [],
        "checks": [],
        "word_count": len(answer.split()),
        "run_id": "run",
        "written_at": NOW,
        **columns,
    }


def write_answers(folder: Path, rows: Iterable[Mapping[str, Any]]) -> Location:
    """A store with one more part; returns it."""
    store = Storage().at(str(folder))
    writer = PartWriter("run")
    table = pa.Table.from_pylist([dict(row) for row in rows], schema=ANSWERS)
    writer.write_as_it_is(writer.new_part(store.join(ANSWERS_FOLDER)), table)
    return store
