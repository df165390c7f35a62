"""Rows of answers as an overview reads them."""

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from pipeline.results.pages.overview import COLUMNS
from pipeline.store.schema import ANSWERS

ROW = {
    "question": "?",
    "status": "answered",
    "stance": "answered",
    "checks": [{"name": "format", "passed": False}],
    "failed_checks": [],
    "attempts": [{"seconds": 1.0}],
    "word_count": 3,
    "answer": "Ten herons.",
    "answers_question": "yes",
    "p_answered": 0.9,
    "finish_reason": "stop",
    "model": "m",
    "extra": None,
    "prompt_tokens": 5,
    "cached_tokens": 0,
    "completion_tokens": 2,
    "run_id": "run",
}


def overview_rows(rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Each row has `ROW` for what it does not say."""
    names = dict.fromkeys(name.partition(".")[0] for name in COLUMNS)
    whole = [{"written_at": 0, **ROW, **row} for row in rows]
    return pa.Table.from_pylist(whole, pa.schema([ANSWERS.field(name) for name in names]))
