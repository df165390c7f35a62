"""Part files: written whole or not at all, never changed, found by listing their folder."""

import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from fsspec import AbstractFileSystem

from pipeline.config.bucket import WHOLE, Bucket
from pipeline.core.errors import StorageError
from pipeline.core.filesystem import Location, storage_errors
from pipeline.store.schema import TIMESTAMP

T = TypeVar("T")

PARTS_AT_ONCE = 8
BATCH_ROWS = 1000

PAPER = ("paper_id", "record_id")
"""Columns of answers, of which the first that holds something is the key of buckets."""

LISTINGS = 5
"""Compaction takes parts away once each time it runs; a part that is always gone is damage."""

UNLIKE = (
    "generation_key",
    "record_id",
    "prompt_key",
    "messages",
    "answer",
    "completion",
    "payload",
)
"""Columns whose values differ from row to row, where a dictionary costs time and saves nothing."""


def new_run_id(now: datetime) -> str:
    """Sorts by start: UTC to the second, then four random hex digits against a tie."""
    return f"{now:%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:4]}"


def list_parts(folder: Location, bucket: Bucket = WHOLE) -> list[str]:
    """Paths of the parts in `answers/` or `rejects/`; none where the folder is not there yet.

    Less those whose names say that they hold nothing of the bucket.
    """
    return [p for p in folder.files() if is_part(p) and Bucket.tagged(p).meets(bucket)]


def is_part(path: str) -> bool:
    name = path.rsplit("/", 1)[-1]
    return name.startswith("part-") and name.endswith(".parquet")


def read_parts(
    fs: AbstractFileSystem, paths: Sequence[str], columns: Sequence[str]
) -> Iterator[pa.Table]:
    """The named columns of parts, in their order, several being fetched at a time and no more."""
    with ThreadPoolExecutor(PARTS_AT_ONCE) as readers:
        fetched: deque[Future[pa.Table]] = deque()
        for path in paths:
            fetched.append(readers.submit(read_part, fs, path, columns))
            if len(fetched) == PARTS_AT_ONCE:
                yield fetched.popleft().result()
        while fetched:
            yield fetched.popleft().result()


def read_part(fs: AbstractFileSystem, path: str, columns: Sequence[str]) -> pa.Table:
    """Raises `PartGone` for a part that is there no more."""
    with part_errors(fs, path), fs.open(path, "rb") as file:
        return pq.read_table(file, columns=list(columns), page_checksum_verification=True)


def read_batches(fs: AbstractFileSystem, path: str, columns: Sequence[str]) -> Iterator[pa.Table]:
    """A part in tables of `BATCH_ROWS` rows, whatever its size; raises as `read_part` does."""
    with part_errors(fs, path), fs.open(path, "rb") as file:
        part = pq.ParquetFile(file, page_checksum_verification=True)
        for batch in part.iter_batches(BATCH_ROWS, columns=list(columns)):
            yield pa.Table.from_batches([batch])


@contextmanager
def part_errors(fs: AbstractFileSystem, path: str) -> Iterator[None]:
    location = Location(fs, path)
    try:
        with storage_errors(location.uri):
            yield
    except StorageError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise PartGone(str(error)) from error
        raise


class PartGone(StorageError):
    """A part was listed, and had been compacted away when it was to be read."""


def with_parts(folder: Location, read: Callable[[list[str]], T], bucket: Bucket = WHOLE) -> T:
    """What `read` makes of the parts of a folder that may hold something of a bucket; listed and
    read anew where one of them has gone.
    """
    for _ in range(LISTINGS - 1):
        with suppress(PartGone):
            return read(list_parts(folder, bucket))
    return read(list_parts(folder, bucket))


def columns_in(bucket: Bucket, columns: Sequence[str]) -> list[str]:
    """The columns of answers that `rows_in` needs besides those asked for."""
    return [*columns] if bucket.is_whole else [*dict.fromkeys([*columns, *PAPER])]


def rows_in(bucket: Bucket, rows: pa.Table) -> pa.Table:
    """The answers that belong to a bucket, by the papers of their records."""
    if bucket.is_whole:
        return rows
    return rows.filter(pa.array(bucket.mask(pc.coalesce(*(rows[name] for name in PAPER)))))


@dataclass(frozen=True, slots=True)
class PartWriter:
    """Who writes parts, of what, and how."""

    run_id: str
    bucket: Bucket = WHOLE
    append_only: bool = False


def write_part(folder: Location, rows: pa.Table, schema: pa.Schema, writer: PartWriter) -> int:
    """Stamps rows with run and time and stores them as one part; returns its size in bytes.

    `written_at` is taken here, so that rows which a retried task writes again are newer than those
    it leaves behind. *Crash window:* a kill before the part appears loses these rows, and the next
    run does them again; a kill after it, before the run has counted them, leaves rows that are
    right, and current for the next run.
    """
    stamped = pa.table(
        [_stamp(rows, field, writer.run_id) for field in schema],
        schema=schema,
    )
    buffer = BytesIO()
    pq.write_table(
        stamped,
        buffer,
        compression="zstd",
        use_dictionary=[name for name in schema.names if name not in UNLIKE],
        write_page_checksum=True,
    )
    data = buffer.getvalue()
    part = folder.join(f"part-{writer.run_id}-{writer.bucket.tag}{uuid.uuid4().hex[:12]}.parquet")
    if writer.append_only:
        # The name is this part's alone: one that is there is the work of a request whose reply
        # was lost.
        with suppress(FileExistsError):
            part.create(data)
    else:
        part.write_whole(data)
    return len(data)


def _stamp(rows: pa.Table, field: pa.Field, run_id: str) -> pa.ChunkedArray | pa.Array:
    if field.name == "run_id":
        return pa.repeat(run_id, rows.num_rows)
    if field.name == "written_at":
        return pa.repeat(pa.scalar(datetime.now(UTC), TIMESTAMP), rows.num_rows)
    return rows.column(field.name)
