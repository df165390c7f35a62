"""Many small parts into few large ones, sorted; safe to kill at any moment and beside a run.

For each group of neighbouring parts: read, sort, write one part, then delete the old ones.
*Crash windows:* a kill before the new part appears changes nothing. A kill after it, before all the
old ones are deleted, leaves rows twice, alike to the letter: by the reader rule one of each counts,
and the next compaction drops the copies. Whoever listed the parts before and finds one gone lists
again (`with_parts`).
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
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.config.bucket import Bucket
from pipeline.core.filesystem import Location, storage_errors
from pipeline.store.parts import UNLIKE, is_part, read_part, read_parts
from pipeline.store.reader import COUNTING
from pipeline.store.reader_rule import as_digests, digest, flags, micros, newest, row_digests
from pipeline.store.schema import ANSWERS, ANSWERS_FOLDER, REJECTS, REJECTS_FOLDER

TARGET_BYTES = 256 * 2**20
"""Of a compacted part. Some five times as much is held in memory while one is made."""

ROW_GROUP_ROWS = 5000

_PLACE = ("run_id", "source_uri", "source_row")
_KEYS = {ANSWERS_FOLDER: (*COUNTING, *_PLACE), REJECTS_FOLDER: ("reason", *_PLACE)}
_ORDER = {
    ANSWERS_FOLDER: ("paper_id", "question_id", "record_id", "written_at"),
    REJECTS_FOLDER: ("source_uri", "source_row", "written_at"),
}
_SCHEMAS = {ANSWERS_FOLDER: ANSWERS, REJECTS_FOLDER: REJECTS}


@dataclass(slots=True)
class Compacted:
    """What a compaction did: parts and bytes that went, and that took their place."""

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
    is_superseded: npt.NDArray[np.bool_]

    def waste(self, drop_superseded: bool) -> npt.NDArray[np.bool_]:
        """The rows that are to go."""
        return self.is_copy | self.is_superseded if drop_superseded else self.is_copy


def compact(
    store: Location,
    now: datetime,
    drop_superseded: bool = False,
    target_bytes: int = TARGET_BYTES,
    progress: Callable[[Compacted], None] = lambda _: None,
) -> Compacted:
    """Compacts answers and rejects; what is compacted already stays as it is.

    Rows that newer ones have superseded stay unless they are to be dropped.
    """
    done = Compacted()
    for folder in (ANSWERS_FOLDER, REJECTS_FOLDER):
        place = store.join(folder)
        parts = _parts(place, folder)
        for group in _groups(parts, target_bytes, drop_superseded):
            _compact_group(place, folder, group, now, drop_superseded, done)
            progress(done)
    return done


def _parts(place: Location, folder: str) -> list[_Part]:
    """Every part, with the rows of it that need not be there."""
    listed = {path: size for path, size in place.files().items() if is_part(path)}
    keys = _KEYS[folder]
    names, rule = [as_digests([])], [as_digests([])]
    times, sizes = [np.empty(0, np.int64)], []
    for rows in read_parts(place.fs, list(listed), [*keys, "written_at"]):
        times.append(micros(rows))
        cells = [times[-1].tolist(), *(rows[name].to_pylist() for name in keys)]
        names.append(
            as_digests(digest(*(str(c).encode() for c in row)) for row in zip(*cells, strict=True))
        )
        rule.append(row_digests(rows, COUNTING) if folder == ANSWERS_FOLDER else names[-1])
        sizes.append(rows.num_rows)
    written = np.concatenate(times)
    copy = ~flags(newest(np.concatenate(names), written), len(written))
    superseded = ~flags(newest(np.concatenate(rule), written), len(written)) & ~copy
    borders = np.cumsum(sizes)[:-1]
    return [
        _Part(path, size, Bucket.tagged(path), copies, old)
        for (path, size), copies, old in zip(
            listed.items(), np.split(copy, borders), np.split(superseded, borders), strict=False
        )
    ]


def _groups(
    parts: Sequence[_Part], target_bytes: int, drop_superseded: bool
) -> Iterator[list[_Part]]:
    """Of each bucket the groups of parts that become one."""
    for bucket in sorted({part.bucket for part in parts}, key=str):
        own = [part for part in parts if part.bucket == bucket]
        yield from _groups_of_one(own, target_bytes, drop_superseded)


def _groups_of_one(
    parts: Sequence[_Part], target_bytes: int, drop_superseded: bool
) -> Iterator[list[_Part]]:
    """Neighbours that make about one large part; a large one alone where it holds waste."""
    group: list[_Part] = []
    for part in parts:
        if part.size >= target_bytes // 2:
            if part.waste(drop_superseded).any():
                yield [part]
            continue
        group.append(part)
        if sum(p.size for p in group) >= target_bytes:
            yield group
            group = []
    if len(group) > 1 or any(p.waste(drop_superseded).any() for p in group):
        yield group


def _compact_group(
    place: Location,
    folder: str,
    group: Sequence[_Part],
    now: datetime,
    drop_superseded: bool,
    done: Compacted,
) -> None:
    schema = _SCHEMAS[folder]
    tables = []
    for part in group:
        waste, copies = part.waste(drop_superseded), int(part.is_copy.sum())
        tables.append(read_part(place.fs, part.path, schema.names).filter(pa.array(~waste)))
        done.copies_dropped += copies
        done.superseded_dropped += int(waste.sum()) - copies
    rows = pa.concat_tables(tables)
    rows = rows.take(_order(rows, _ORDER[folder]))
    if rows.num_rows:
        done.bytes_after += _write(place, rows, schema, now, group[0].bucket)
        done.parts_after += 1
    for part in group:
        # Another compaction may have deleted it, having written its rows as this one has.
        with storage_errors(Location(place.fs, part.path).uri), suppress(FileNotFoundError):
            place.fs.rm_file(part.path)
    done.parts_before += len(group)
    done.bytes_before += sum(part.size for part in group)
    done.rows += rows.num_rows


def _order(rows: pa.Table, columns: Sequence[str]) -> pa.Array:
    keys = rows.select(columns)
    return pc.sort_indices(keys, sort_keys=[(name, "ascending") for name in columns])


def _write(
    place: Location, rows: pa.Table, schema: pa.Schema, now: datetime, bucket: Bucket
) -> int:
    with tempfile.TemporaryDirectory(prefix="overnight-compact-") as folder:
        draft = os.path.join(folder, "part.parquet")
        pq.write_table(
            rows.cast(schema),
            draft,
            compression="zstd",
            use_dictionary=[name for name in schema.names if name not in UNLIKE],
            write_page_checksum=True,
            row_group_size=ROW_GROUP_ROWS,
        )
        name = f"part-{now:%Y%m%dT%H%M%SZ}-compact-{bucket.tag}{uuid.uuid4().hex[:12]}.parquet"
        place.join(name).adopt(draft)
        return os.path.getsize(draft)
