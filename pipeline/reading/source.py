"""Stage: shards to records, in read tasks of about equal bytes, each a stream of blocks."""

import io
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import accumulate
from typing import TypeAlias, TypeVar

from fsspec import AbstractFileSystem

from pipeline.config.schema import Input
from pipeline.config.selection import EVERYTHING, Selection
from pipeline.core.errors import StorageError, describe
from pipeline.core.filesystem import GuardedStream, Storage
from pipeline.core.identity import content_of, identity
from pipeline.core.records import Fault, ItemBlock, Record, Reject
from pipeline.core.storage_faults import Unreadable
from pipeline.reading.shards import Shard, read_shard, unread, whole_file

T = TypeVar("T")

Opened: TypeAlias = tuple[Shard, GuardedStream | Exception]
"""A shard with its bytes, or why there are none."""

BLOCK_RECORDS = 4000
BLOCK_BYTES = 8 * 2**20
BLOCK_SECONDS = 1.0
"""A block is handed on when any of these is reached: a slow input shows early that there
is work, so that the model can load meanwhile."""

SMALL_SHARD_BYTES = 1 * 2**20
FETCH_BYTES = 16 * 2**20
FETCH_SHARDS = 128
READ_AHEAD_BYTES = 8 * 2**20

TASK_BYTES = 16 * 2**20
REQUEST_BYTES = 64 * 2**10
"""A read task's share of the input, in which every file weighs this much more than it holds."""


def read_tasks(
    shards: Sequence[Shard], read: Callable[..., Iterator[T]]
) -> list[tuple[Callable[[], Iterator[T]], int]]:
    """The input in tasks of about equal weight, each with the bytes that its shards have in the
    store.

    A task calls `read` with its share of the shards, and with the number of the first one in the
    input as `first`.
    """
    wanted = min(len(shards), -(-sum(map(_weight, shards)) // TASK_BYTES))
    shares = share_out(shards, wanted)
    firsts = accumulate(map(len, shares), initial=0)
    return [
        (partial(read, share, first=first), sum(shard.size for shard in share))
        for share, first in zip(shares, firsts, strict=False)
    ]


def share_out(shards: Sequence[Shard], shares: int) -> list[list[Shard]]:
    """At most `shares` runs of neighbouring shards of about equal weight; none of them empty."""
    total = sum(map(_weight, shards))
    made: list[list[Shard]] = [[] for _ in range(max(shares, 1))]
    before = 0
    for shard in shards:
        made[before * len(made) // total].append(shard)
        before += _weight(shard)
    return [share for share in made if share]


def _weight(shard: Shard) -> int:
    return shard.size + REQUEST_BYTES


def read_blocks(
    shards: Sequence[Shard],
    spec: Input,
    storage: Storage,
    selection: Selection = EVERYTHING,
    enough: Callable[[], bool] = lambda: False,
    met: Callable[[bytes], object] = lambda _: None,
    first: int = 0,
    opened_shards: Iterable[Opened] | None = None,
) -> Iterator[ItemBlock]:
    """One read task: its shards' records and rejects, in bounded memory.

    Nothing outside the selection or the bucket is handed on; reading stops once `enough` says so.
    `met` is told the identities of all records that were read, before what comes of them is handed
    on. `first` is the number of the first shard in the input. `opened_shards` are the same shards,
    if they have been opened already.
    """
    block = _Block()
    reported = finished = 0
    opened_shards = _opened(shards, storage) if opened_shards is None else opened_shards
    for number, (shard, opened) in enumerate(opened_shards, first):
        if enough():
            break
        for item in _items(shard, opened, spec):
            block.add(item, number, selection.covers(item) and spec.bucket.holds(item.paper))
            if block.is_full():
                reached = finished + _consumed(shard, opened)
                met(b"".join(block.met))
                yield block.items(reached - reported)
                block, reported = _Block(), reached
                if enough():
                    return
        finished += shard.size
    met(b"".join(block.met))
    yield block.items(finished - reported)


class _Block:
    """Items on their way into one block, and the identities of all records met meanwhile."""

    def __init__(self) -> None:
        self.met: list[bytes] = []
        self._records: list[Record] = []
        self._identities: list[bytes] = []
        self._rejects: list[Reject] = []
        self._size = 0
        self._began = time.monotonic()

    def add(self, item: Record | Reject, shard: int, is_wanted: bool) -> None:
        if isinstance(item, Reject):
            if is_wanted:
                self._rejects.append(item)
                self._size += len(item.payload)
            return
        content = content_of(item)
        self.met.append(identity(item.record_id, content, shard, item.place.row))
        if is_wanted:
            self._records.append(item)
            self._identities.append(self.met[-1])
            self._size += len(content)

    def is_full(self) -> bool:
        items = len(self._records) + len(self._rejects)
        full = items >= BLOCK_RECORDS or self._size >= BLOCK_BYTES
        return items > 0 and (full or time.monotonic() - self._began > BLOCK_SECONDS)

    def items(self, stored_bytes: int) -> ItemBlock:
        return ItemBlock(self._records, self._identities, self._rejects, stored_bytes)


def read_items(shards: Sequence[Shard], spec: Input, storage: Storage) -> Iterator[Record | Reject]:
    """Every record and reject of some shards, in order; reads little further than is asked for."""
    for shard, opened in _opened(shards, storage):
        yield from _items(shard, opened, spec)


def _items(
    shard: Shard, opened: GuardedStream | Exception, spec: Input
) -> Iterator[Record | Reject]:
    if isinstance(opened, GuardedStream):
        with opened:
            yield from read_shard(shard, opened, spec)
    elif isinstance(opened, Unreadable):
        yield unread(shard, str(opened))
    elif isinstance(opened, (FileNotFoundError, PermissionError)):
        yield whole_file(shard, Fault("unreadable", describe(opened)))
    else:
        raise StorageError(f"{shard.uri}: {describe(opened)}") from opened


def _consumed(shard: Shard, opened: GuardedStream | Exception) -> int:
    return min(opened.consumed, shard.size) if isinstance(opened, GuardedStream) else 0


def _opened(shards: Sequence[Shard], storage: Storage) -> Iterator[Opened]:
    """Shards with their bytes, or why not: small ones fetched many at a time, large ones opened."""
    fs = storage.at(shards[0].uri).fs
    for group in fetch_groups(shards):
        if not _is_small(group[0]):
            yield group[0], open_shard(fs, group[0])
            continue
        # Asked for a whole object, s3fs asks for its size first; no range begins in an empty one.
        starts = [0 if shard.size else None for shard in group]
        fetched = fs.cat_ranges([s.path for s in group], starts, None, on_error="return")
        for shard, data in zip(group, fetched, strict=True):
            is_read = not isinstance(data, Exception)
            yield shard, GuardedStream(io.BytesIO(data), shard.uri) if is_read else data


def open_shard(fs: AbstractFileSystem, shard: Shard) -> GuardedStream | Exception:
    if shard.fault:
        return Unreadable(shard.fault)
    try:
        return GuardedStream(fs.open(shard.path, block_size=READ_AHEAD_BYTES), shard.uri)
    except Exception as error:  # noqa: BLE001  for the caller, who knows what it means
        return error


def fetch_groups(shards: Iterable[Shard]) -> Iterator[list[Shard]]:
    """Neighbouring small shards in groups for one fetch; large and unreadable ones alone."""
    group: list[Shard] = []
    size = 0
    for shard in shards:
        small = _is_small(shard)
        if group and (not small or size + shard.size > FETCH_BYTES or len(group) >= FETCH_SHARDS):
            yield group
            group, size = [], 0
        if small:
            group.append(shard)
            size += shard.size
        else:
            yield [shard]
    if group:
        yield group


def _is_small(shard: Shard) -> bool:
    return shard.size <= SMALL_SHARD_BYTES and not shard.fault
