"""Shards whose bytes are looked at before they are parsed: it may be known what is in them."""

import io
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from hashlib import blake2b
from itertools import groupby
from typing import TypeVar

import orjson

from pipeline.core.filesystem import GuardedStream, Storage
from pipeline.core.records import ItemBlock, WholeShard
from pipeline.reading.shards import Shard
from pipeline.reading.source import SMALL_SHARD_BYTES, open_shard

T = TypeVar("T")

LARGEST_BYTES = 64 * 2**20
"""Of a shard whose bytes are held in memory, all at once."""


def read_unless_known(
    shards: Sequence[Shard],
    first: int,
    read: Callable[..., Iterator[ItemBlock]],
    storage: Storage,
    known: Callable[[WholeShard], T | None],
    enough: Callable[[], bool] = lambda: False,
) -> Iterator[ItemBlock | T]:
    """One read task: what `known` says of a shard, or else the blocks that `read` makes of it.

    Small shards, which are fetched many at a time, and very large ones are read in any case.
    Reading stops once `enough` says so, as `read` does.
    """
    for is_asked, group in groupby(enumerate(shards, first), lambda pair: _is_asked(pair[1])):
        numbers, some = zip(*group, strict=True)
        if not is_asked:
            yield from read(some, first=numbers[0])
            continue
        for number, shard in zip(numbers, some, strict=True):
            if enough():
                return
            blocks = partial(read, [shard], first=number)
            opened = open_shard(storage.at(shard.uri).fs, shard)
            if isinstance(opened, GuardedStream):
                yield from _unless_known(shard, number, opened, blocks, known, enough)
            else:
                yield from blocks(opened_shards=[(shard, opened)])


def _is_asked(shard: Shard) -> bool:
    return not shard.fault and SMALL_SHARD_BYTES < shard.size <= LARGEST_BYTES


def _unless_known(
    shard: Shard,
    number: int,
    stored: GuardedStream,
    blocks: Callable[..., Iterator[ItemBlock]],
    known: Callable[[WholeShard], T | None],
    enough: Callable[[], bool],
) -> Iterator[ItemBlock | T]:
    with stored:
        data = io.BufferedReader(stored).read()
    digest = blake2b(orjson.dumps(shard.folders, option=orjson.OPT_SORT_KEYS), digest_size=16)
    digest.update(data)
    whole = WholeShard(shard.uri, number, shard.size, digest.hexdigest())
    if (said := known(whole)) is not None:
        yield said
        return
    read = blocks(opened_shards=[(shard, GuardedStream(io.BytesIO(data), shard.uri))])
    block = next(read)
    for following in read:
        yield block._replace(shard=whole)
        block = following
    yield block._replace(shard=whole, ends_shard=not enough())
