"""Stores of answers that people are to read, made without a run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.core.filesystem import Location, Storage
from pipeline.store.parts import PartWriter
from pipeline.store.schema import ANSWERS, ANSWERS_FOLDER


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
