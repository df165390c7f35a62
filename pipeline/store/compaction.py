"""Merges many small parts into few large, sorted ones; safe to kill, and safe beside a run.

For each group of neighbouring parts: read, sort, write one part, then delete the old ones.
*Crash windows:* a kill before the new part appears changes nothing. A kill after that, before all
old parts are deleted, leaves identical copies of rows: by the reader rule one of each counts, and
the next compaction drops the copies. A reader that finds a listed part gone lists again
(`with_parts`).
"""

import os
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.config.bucket import Bucket
from pipeline.core.filesystem import Location, storage_errors
from pipeline.store.parts import is_part, read_part, read_parts, write_part
from pipeline.store.reader import (
    BY_GENERATION,
    as_digests,
    key_digest,
    mask_at,
    newest,
    row_digests,
    written_micros,
)
from pipeline.store.schema import ANSWERS, ANSWERS_FOLDER, REJECTS, REJECTS_FOLDER

TARGET_BYTES = 256 * 2**20
"""Of a compacted part. Writing one takes about five times as much memory."""

ROW_GROUP_ROWS = 5000

_PLACE = ("run_id", "source_uri", "source_row")
_COPY_KEYS = {ANSWERS_FOLDER: (*BY_GENERATION, *_PLACE), REJECTS_FOLDER: ("reason", *_PLACE)}
_ORDER = {
    ANSWERS_FOLDER: ("paper_id", "question_id", "record_id", "written_at"),
    REJECTS_FOLDER: ("source_uri", "source_row", "written_at"),
}
_SCHEMAS = {ANSWERS_FOLDER: ANSWERS, REJECTS_FOLDER: REJECTS}


@dataclass(slots=True)
class Compacted:
    """What a compaction did: the parts and bytes that it replaced, and those that it wrote."""

    parts_before: int = 0
    parts_after: int = 0
    bytes_before: int = 0
    bytes_after: int = 0
    rows: int = 0
    copies_dropped: int = 0
    superseded_dropped: int = 0


@dataclass(frozen=True, slots=True)
class _Part:
    path: str
    size: int
    bucket: Bucket
    is_copy: npt.NDArray[np.bool_]
    is_waste: npt.NDArray[np.bool_]  # copies, and superseded rows if they are to be dropped


def compact(
    store: Location,
    now: datetime,
    drop_superseded: bool = False,
    target_bytes: int = TARGET_BYTES,
    progress: Callable[[Compacted], None] = lambda _: None,
) -> Compacted:
    """Merges small parts of answers and rejects; keeps superseded rows unless `drop_superseded`."""
    done = Compacted()
    for folder in (ANSWERS_FOLDER, REJECTS_FOLDER):
        place = store.join(folder)
        for group in _groups(_parts(place, folder, drop_superseded), target_bytes):
            _compact_group(place, folder, group, now, done)
            progress(done)
    return done


def _parts(place: Location, folder: str, drop_superseded: bool) -> list[_Part]:
    """Every part, with the rows in it to drop."""
    listed = {path: size for path, size in place.files().items() if is_part(path)}
    columns = _COPY_KEYS[folder]
    copy_keys, rule_keys = [as_digests([])], [as_digests([])]
    times, sizes = [np.empty(0, np.int64)], []
    for rows in read_parts(place.fs, list(listed), [*columns, "written_at"]):
        times.append(written_micros(rows))
        keys = zip(times[-1].tolist(), *(rows[name].to_pylist() for name in columns), strict=True)
        copy_keys.append(as_digests(key_digest(*(str(c).encode() for c in key)) for key in keys))
        is_answers = folder == ANSWERS_FOLDER
        rule_keys.append(row_digests(rows, BY_GENERATION) if is_answers else copy_keys[-1])
        sizes.append(rows.num_rows)
    written = np.concatenate(times)
    copy = ~mask_at(newest(np.concatenate(copy_keys), written), len(written))
    superseded = ~mask_at(newest(np.concatenate(rule_keys), written), len(written))
    waste = copy | superseded if drop_superseded else copy
    borders = np.cumsum(sizes)[:-1]
    masks = zip(np.split(copy, borders), np.split(waste, borders), strict=True)
    return [
        _Part(path, size, Bucket.of_part(path), *in_part)
        for (path, size), in_part in zip(listed.items(), masks, strict=False)
    ]


def _groups(parts: Sequence[_Part], target_bytes: int) -> Iterator[list[_Part]]:
    """Groups of parts to merge; a group never spans buckets."""
    for bucket in sorted({part.bucket for part in parts}, key=str):
        in_bucket = [part for part in parts if part.bucket == bucket]
        yield from _groups_in_bucket(in_bucket, target_bytes)


def _groups_in_bucket(parts: Sequence[_Part], target_bytes: int) -> Iterator[list[_Part]]:
    """Neighbours that add up to one large part; a large part by itself if it has rows to drop."""
    group: list[_Part] = []
    for part in parts:
        if part.size >= target_bytes // 2:
            if part.is_waste.any():
                yield [part]
            continue
        group.append(part)
        if sum(p.size for p in group) >= target_bytes:
            yield group
            group = []
    if len(group) > 1 or any(p.is_waste.any() for p in group):
        yield group


def _compact_group(
    place: Location, folder: str, group: Sequence[_Part], now: datetime, done: Compacted
) -> None:
    schema = _SCHEMAS[folder]
    tables = []
    for part in group:
        rows = read_part(place.fs, part.path, schema.names).select(schema.names)
        tables.append(rows.filter(pa.array(~part.is_waste)))
        done.copies_dropped += int(part.is_copy.sum())
        done.superseded_dropped += int((part.is_waste & ~part.is_copy).sum())
    rows = pa.concat_tables(tables).sort_by([(name, "ascending") for name in _ORDER[folder]])
    if rows.num_rows:
        done.bytes_after += _write(place, rows, schema, now, group[0].bucket)
        done.parts_after += 1
    for part in group:
        # Another compaction may have merged it at the same time, and deleted it first.
        with storage_errors(Location(place.fs, part.path).uri), suppress(FileNotFoundError):
            place.fs.rm_file(part.path)
    done.parts_before += len(group)
    done.bytes_before += sum(part.size for part in group)
    done.rows += rows.num_rows


def _write(
    place: Location, rows: pa.Table, schema: pa.Schema, now: datetime, bucket: Bucket
) -> int:
    with tempfile.TemporaryDirectory(prefix="overnight-compact-") as folder:
        draft = os.path.join(folder, "part.parquet")
        write_part(rows.cast(schema), draft, ROW_GROUP_ROWS)
        name = f"part-{now:%Y%m%dT%H%M%SZ}-compact-{bucket.tag}{uuid.uuid4().hex[:12]}.parquet"
        place.join(name).adopt(draft)
        return os.path.getsize(draft)
