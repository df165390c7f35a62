"""Reads a file or a folder as a single read task does, without a cluster."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.config.schema import Fields, Input, InputFormat
from pipeline.core.arrow import prompts_table, table_prompts
from pipeline.core.extra import dump_extra
from pipeline.core.filesystem import Storage
from pipeline.core.identity import content_of, identity
from pipeline.core.records import ItemBlock, Prompt, Record, Reject
from pipeline.reading.shards import list_shards
from pipeline.reading.source import read_blocks

Row = dict[str, Any]

_RECORD_FIELDS = [
    "record_id",
    "paper_id",
    "question_id",
    "question",
    "recorded_answer",
    "boilerplate",
]
_REJECT_FIELDS = ["record_id", "reason", "detail", "payload"]


@dataclass(frozen=True, slots=True)
class Reading:
    """What a read task hands on: rows of records and of rejects, and a count of each block."""

    records: list[Row]
    rejects: list[Row]
    counts: list[Row]


def read_path(
    path: Path | str,
    limit: int = 4 * 2**20,
    kind: InputFormat = "auto",
    fields: Mapping[str, str] | None = None,
) -> Reading:
    """Everything at a path, read by one task."""
    spec = Input(
        uri=str(path), format=kind, max_record_bytes=limit, fields=Fields(**(fields or {}))
    )
    storage = Storage()
    return as_reading(read_blocks(list_shards(spec.uri, storage).shards, spec, storage))


def as_reading(blocks: Iterable[ItemBlock]) -> Reading:
    blocks = list(blocks)
    assert all(len(block.records) == len(block.identities) for block in blocks)
    return Reading(
        [_record_row(record) for block in blocks for record in block.records],
        [_reject_row(reject) for block in blocks for reject in block.rejects],
        [{"read": block.read, "stored_bytes": block.stored_bytes} for block in blocks],
    )


def items_of(*items: Record | Reject, stored_bytes: int = 0) -> ItemBlock:
    """These items as a read task hands them on."""
    records = [item for item in items if isinstance(item, Record)]
    identities = [identity(r.record_id, content_of(r), 0, r.place.row) for r in records]
    return ItemBlock(records, identities, [i for i in items if isinstance(i, Reject)], stored_bytes)


def through_arrow(record: Record) -> Record:
    """A record as it comes out of a table of prompts: its ready messages are the prompt's."""
    prompt = Prompt(record, record.messages, record.boilerplate, "p", "g")
    (restored,) = table_prompts(prompts_table([prompt], ["work"]))
    return replace(restored.record, messages=restored.messages, boilerplate=restored.boilerplate)


def _record_row(record: Record) -> Row:
    extra = dump_extra(record.extra)
    return {
        **{name: getattr(record, name) for name in _RECORD_FIELDS},
        "source_uri": record.place.uri,
        "source_row": record.place.row,
        "passages": [passage._asdict() for passage in record.passages],
        "messages": [message._asdict() for message in record.messages],
        "input_repairs": list(record.repairs),
        "extra": extra.decode() if extra else None,
    }


def _reject_row(reject: Reject) -> Row:
    return {
        **{name: getattr(reject, name) for name in _REJECT_FIELDS},
        "source_uri": reject.place.uri,
        "source_row": reject.place.row,
    }


def faults(reading: Reading) -> list[tuple[int, str]]:
    """The rejects as (row, reason)."""
    return [(r["source_row"], r["reason"]) for r in reading.rejects]
