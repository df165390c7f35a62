"""What a replica has answered goes into the store, long before the end of its batch if need be."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain

import pyarrow as pa

from pipeline.cluster.reporter import Reporter
from pipeline.core.accounting import Totals
from pipeline.core.errors import StorageError
from pipeline.core.records import Answered
from pipeline.store.sink import Sink

WAITING_SHARE = 0.75
"""Share of `output.flush_seconds` that an answer waits for others; the rest is for writing them."""


@dataclass(slots=True, eq=False)
class BatchAnswers:
    """The answers of one batch; `totals` counts those that are stored."""

    digest: bytes
    unstored: list[Sequence[Answered]] = field(default_factory=list)  # those together that share
    rows: int = 0  # of the unstored ones
    totals: Totals = field(default_factory=Totals)


class Flusher:
    """Stores the answers of all batches of a replica, in common parts.

    That happens at the end of a batch, when there are enough for a part, and after `seconds` at the
    latest. If it fails before the end of a batch, it is tried again with the next answers.

    *Crash windows:* a kill loses the answers since the last part. Each part is announced to the
    coordinator before it is written, so that a batch that comes again finds what is stored of it:
    an announced part that does not exist has lost its answers, and one that appears later, written
    by a replica that was cut off and taken for lost, holds rows that are generated twice. Answers
    that share a generation stand in one part: either all of them are lost or none, so that none is
    generated again for the sake of another.
    """

    def __init__(
        self,
        sink: Sink,
        reporter: Reporter,
        seconds: float,
        as_rows: Callable[[Sequence[Answered]], Awaitable[pa.Table]],
        on_stored: Callable[[int], object],
    ) -> None:
        self._sink = sink
        self._reporter = reporter
        self._seconds = seconds * WAITING_SHARE
        self._as_rows = as_rows
        self._on_stored = on_stored
        self._batches: list[BatchAnswers] = []
        self._storing = asyncio.Lock()
        self._timer: asyncio.TimerHandle | None = None
        self._flush: asyncio.Task[None] | None = None

    def begin(self, digest: bytes) -> BatchAnswers:
        batch = BatchAnswers(digest)
        self._batches.append(batch)
        return batch

    def add(self, batch: BatchAnswers, answers: Sequence[Answered]) -> None:
        """Takes answers that are to stand in one part, at most as many as it holds."""
        batch.unstored.append(answers)
        batch.rows += len(answers)
        if self._unstored >= self._sink.rows_per_file and not self._storing.locked():
            self._flush_now()
        self._set_timer()

    async def finish(self, batch: BatchAnswers) -> Totals:
        """Stores what is left of a batch; returns the totals of all its answers.

        Raises `StorageError`.
        """
        try:
            async with self._storing:
                if batch.unstored:
                    await self._store()
        finally:
            self._batches.remove(batch)
        return batch.totals

    @property
    def _unstored(self) -> int:
        return sum(batch.rows for batch in self._batches)

    def _set_timer(self) -> None:
        if self._timer is None and self._unstored:
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self._flush_now)

    def _flush_now(self) -> None:
        self._flush = asyncio.create_task(self._try_to_store())

    async def _try_to_store(self) -> None:
        with suppress(StorageError):
            async with self._storing:
                await self._store()

    async def _store(self) -> None:
        """Stores every answer that there is now."""
        self._clear_timer()
        try:
            if pieces := [(b, tuple(b.unstored)) for b in self._batches if b.unstored]:
                await self._store_pieces(pieces)
        finally:
            self._set_timer()

    async def _store_pieces(
        self, pieces: Sequence[tuple[BatchAnswers, Sequence[Sequence[Answered]]]]
    ) -> None:
        digests = [batch.digest for batch, _ in pieces]
        tables = [await self._as_rows([*chain.from_iterable(groups)]) for _, groups in pieces]
        sizes = [len(answers) for _, groups in pieces for answers in groups]
        written = Totals()
        for rows in _in_parts(pa.concat_tables(tables), sizes, self._sink.rows_per_file):
            written.sums.update(parts=1, part_bytes=await self._write(rows, digests))
        for (batch, groups), rows in zip(pieces, tables, strict=True):
            del batch.unstored[: len(groups)]
            batch.rows -= rows.num_rows
            batch.totals.add(Totals.of(rows))
            self._on_stored(rows.num_rows)
        pieces[0][0].totals.add(written)

    async def _write(self, rows: pa.Table, digests: Sequence[bytes]) -> int:
        part = self._sink.new_answers()
        await self._reporter.announce(part.path, digests)
        return await asyncio.to_thread(self._sink.write_answers, part, rows)

    def _clear_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None


def _in_parts(rows: pa.Table, sizes: Sequence[int], most: int) -> Iterator[pa.Table]:
    """Rows in tables of at most this many, none of which ends within a group; `sizes` are those of
    the groups, in order.
    """
    start, length = 0, 0
    for size in sizes:
        if length and length + size > most:
            yield rows.slice(start, length)
            start, length = start + length, 0
        length += size
    yield rows.slice(start, length)
