"""Corrections of invented answers."""

from datetime import UTC, datetime, timedelta
from typing import Any

from pipeline.store.corrections import Correction, answer_sha256

MORNING = datetime(2026, 11, 29, 8, tzinfo=UTC)


def correction(
    record_id: str,
    value: str = "no",
    annotator: str = "ana",
    field: str = "answers_question",
    answer: str = "Ten herons.",
    minutes: int = 0,
    **cells: Any,
) -> Correction:
    """A correction, so many minutes after eight, of the answer that `answer_row` gives."""
    at = MORNING + timedelta(minutes=minutes)
    key = cells.pop("generation_key", "key of heron")
    note = cells.pop("note", "")
    digest = answer_sha256(answer)
    return Correction(record_id, key, digest, field, value, annotator, at, note)
