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
from pipeline.store.schema import TIMESTAMP, TYPES

T = TypeVar("T")

CONCURRENT_READS = 8
BATCH_ROWS = 1000

PAPER_COLUMNS = ("paper_id", "record_id")
"""Columns of answers: the first one that is not null decides a row's bucket."""

MOST_LISTINGS = 5
"""After this many a missing part counts as damage: each compaction deletes a part only once."""

HIGH_CARDINALITY = (
    "generation_key",
    "record_id",
    "prompt_key",
    "messages",
    "answer",
    "completion",
    "reasoning",
    "extra",
    "payload",
)
"""Columns of mostly distinct values: a Parquet dictionary costs time there and saves nothing."""


def new_run_id(now: datetime) -> str:
    """An id that sorts by start: UTC to the second, then four random hex digits."""
    return f"{now:%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:4]}"


def list_parts(folder: Location, bucket: Bucket = WHOLE) -> list[str]:
    """Paths of a folder's parts, but not of those named for a bucket that shares no rows."""
    return [p for p in folder.files() if is_part(p) and Bucket.of_part(p).overlaps(bucket)]


def is_part(path: str) -> bool:
    name = path.rsplit("/", 1)[-1]
    return name.startswith("part-") and name.endswith(".parquet")


def read_parts(
    fs: AbstractFileSystem, paths: Sequence[str], columns: Sequence[str]
) -> Iterator[pa.Table]:
    """The named columns of each part, in order; fetches `CONCURRENT_READS` parts ahead."""
    with ThreadPoolExecutor(CONCURRENT_READS) as readers:
        pending: deque[Future[pa.Table]] = deque()
        for path in paths:
            pending.append(readers.submit(read_part, fs, path, columns))
            if len(pending) == CONCURRENT_READS:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def read_part(fs: AbstractFileSystem, path: str, columns: Sequence[str]) -> pa.Table:
    """The named columns of one part. Raises `PartGone` if the part no longer exists."""
    with part_errors(fs, path), fs.open(path, "rb") as file:
        part = pq.ParquetFile(file, page_checksum_verification=True)
        return _with_columns(part.read(list(columns)), columns)


def read_batches(fs: AbstractFileSystem, path: str, columns: Sequence[str]) -> Iterator[pa.Table]:
    """A part in tables of `BATCH_ROWS` rows, to bound memory; raises what `read_part` raises."""
    with part_errors(fs, path), fs.open(path, "rb") as file:
        part = pq.ParquetFile(file, page_checksum_verification=True)
        for batch in part.iter_batches(BATCH_ROWS, columns=list(columns)):
            yield _with_columns(pa.Table.from_batches([batch]), columns)


def _with_columns(rows: pa.Table, columns: Sequence[str]) -> pa.Table:
    """Rows with all these columns; what an earlier release did not write is null."""
    present = rows.schema.names
    for name in columns:
        type_ = TYPES.get(name)
        if type_ is None:  # the path of a field of a nested column
            continue
        if name not in present:
            rows = rows.append_column(name, pa.nulls(rows.num_rows, type_))
        elif rows.schema.field(name).type != type_:
            at = rows.schema.get_field_index(name)
            rows = rows.set_column(at, pa.field(name, type_), rows[name].cast(type_))
    return rows


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
    """A part was compacted away between being listed and being read."""


def with_parts(folder: Location, read: Callable[[list[str]], T], bucket: Bucket = WHOLE) -> T:
    """The result of `read` on the parts of a folder that may hold rows of a bucket.

    Lists and reads again if a part has been compacted away meanwhile.
    """
    for _ in range(MOST_LISTINGS - 1):
        with suppress(PartGone):
            return read(list_parts(folder, bucket))
    return read(list_parts(folder, bucket))


def columns_in(bucket: Bucket, columns: Sequence[str]) -> list[str]:
    """The given columns of answers and those that `rows_in` needs."""
    return [*columns] if bucket.is_whole else [*dict.fromkeys([*columns, *PAPER_COLUMNS])]


def rows_in(bucket: Bucket, rows: pa.Table) -> pa.Table:
    """The answers in a bucket, going by the papers of their records."""
    if bucket.is_whole:
        return rows
    return rows.filter(bucket.mask(pc.coalesce(*(rows[name] for name in PAPER_COLUMNS))))


def write_part(rows: pa.Table, target: str | BytesIO, row_group_size: int | None = None) -> None:
    """Writes rows as Parquet, with checksums."""
    dictionaries = [name for name in rows.schema.names if name not in HIGH_CARDINALITY]
    pq.write_table(
        rows,
        target,
        row_group_size,
        compression="zstd",
        use_dictionary=dictionaries,
        write_page_checksum=True,
    )


@dataclass(frozen=True, slots=True)
class PartWriter:
    """Writes the parts of a run, or of one bucket of it."""

    run_id: str
    bucket: Bucket = WHOLE
    append_only: bool = False

    def new_part(self, folder: Location) -> Location:
        """A part of the folder that is still to be written, under a name of its own."""
        return folder.join(f"part-{self.run_id}-{self.bucket.tag}{uuid.uuid4().hex[:12]}.parquet")

    def write(self, part: Location, rows: pa.Table, schema: pa.Schema) -> int:
        """Stores rows as one part, stamped with run and time; returns its size in bytes.

        `written_at` is taken here, so that rows that a retried task writes again are newer than
        those of its first try. *Crash window:* a kill before the part appears loses these rows, and
        the next run generates them again; a kill after it, before the run has counted them, leaves
        rows that are correct and current for the next run.
        """
        stamped = pa.table([self._column(rows, field) for field in schema], schema=schema)
        return self.write_as_it_is(part, stamped)

    def write_as_it_is(self, part: Location, rows: pa.Table) -> int:
        """Stores rows that have their run and time; returns the size of the part in bytes."""
        buffer = BytesIO()
        write_part(rows, buffer)
        data = buffer.getvalue()
        if self.append_only:
            # The name is unique: a part that exists comes from a request whose reply was lost.
            with suppress(FileExistsError):
                part.create(data)
        else:
            part.write_whole(data)
        return len(data)

    def _column(self, rows: pa.Table, field: pa.Field) -> pa.ChunkedArray | pa.Array:
        if field.name == "run_id":
            return pa.repeat(self.run_id, rows.num_rows)
        if field.name == "written_at":
            return pa.repeat(pa.scalar(datetime.now(UTC), TIMESTAMP), rows.num_rows)
        return rows.column(field.name)
