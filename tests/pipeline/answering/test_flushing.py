"""What is answered is stored in time, and no batch that comes again generates it anew."""

import asyncio
import time
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from unittest.mock import Mock

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.answering import engine_loader
from pipeline.answering.evaluate import Evaluator
from pipeline.answering.flushing import Flusher
from pipeline.answering.replica import BatchWorker
from pipeline.cluster.coordinator import Coordinator
from pipeline.cluster.identities import Identities
from pipeline.cluster.reporter import Reporter
from pipeline.config.schema import Answer, Job
from pipeline.core.accounting import Totals
from pipeline.core.arrow import build, pack, receipts_in
from pipeline.core.errors import StorageError
from pipeline.core.filesystem import Location, Storage
from pipeline.core.records import Completion
from pipeline.engines.engine import Request
from pipeline.prompting.render import to_prompts
from pipeline.prompting.template import load_prompt
from pipeline.store.ledger import Ledger
from pipeline.store.parts import PartWriter
from pipeline.store.schema import OUTCOMES
from pipeline.store.sink import Sink
from tests.support.jobs import job, record, stored
from tests.support.shards import items_of

FLUSH_SECONDS = 0.4
SOON = 10.0

Moment = Literal["before", "after"]


class Killed(KeyboardInterrupt):
    """Stands for SIGKILL: it ends the event loop, and nothing is stored any more."""


def lived(work: Coroutine[Any, Any, pa.Table]) -> pa.Table:
    """What a replica hands on, unless it is killed: then asyncio has nothing to say about what it
    leaves, whenever that is collected.
    """

    async def quietly() -> pa.Table:
        asyncio.get_running_loop().set_exception_handler(Mock())
        return await work

    return asyncio.run(quietly())


@dataclass
class Accidents:
    """What happens to a store's writes, by their number: a kill, or a failure."""

    kills: dict[int, Moment] = field(default_factory=dict)
    failures: set[int] = field(default_factory=set)
    writes: int = 0
    is_killed: bool = False

    def happen(self, moment: Moment) -> None:
        self.is_killed |= self.kills.get(self.writes) == moment
        if self.is_killed:
            raise Killed


@dataclass(frozen=True)
class AccidentalSink(Sink):
    accidents: Accidents = field(default_factory=Accidents)

    def write_answers(self, part: Location, rows: pa.Table) -> int:
        self.accidents.writes += not self.accidents.is_killed
        self.accidents.happen("before")
        if self.accidents.writes in self.accidents.failures:
            raise StorageError("no connection")
        size = super().write_answers(part, rows)
        self.accidents.happen("after")
        return size


class Announced(Reporter):
    """Reports to a coordinator in this process."""

    def __init__(self) -> None:
        self.coordinator = Coordinator(1)

    async def announce(self, part: str, batches: Sequence[bytes]) -> None:
        self.coordinator.announce(part, batches)

    async def parts_of(self, batch: bytes) -> Sequence[str]:
        return self.coordinator.parts_of(batch)


class Engine:
    """Answers prompts one after the other; those named in `waits` only when `open` is set."""

    kind, version = "counting", "1"

    def __init__(self, waits: Sequence[str] = ()) -> None:
        self.asked: list[str] = []
        self.waits = waits
        self.open = asyncio.Event()

    async def generate(self, request: Request) -> Completion:
        text = request.messages[-1].content
        self.asked.append(text)
        if any(word in text for word in self.waits):
            await self.open.wait()
        await asyncio.sleep(0.001 * len(self.asked))
        return Completion(
            "Answer:::\nThey counted herons at the pond.\nAnswer:::", "stop", 10, 4, 5
        )


@dataclass
class Bench:
    """A job, and what its replicas share."""

    job: Job
    sink: AccidentalSink
    engine: Engine = field(default_factory=Engine)
    reporter: Announced = field(default_factory=Announced)

    def worker(self) -> BatchWorker:
        """A replica as it starts, on whichever node."""
        source = load_prompt(self.job.prompt.template, Answer())
        return BatchWorker(self.job, source, Evaluator.of(self.job), self.sink, self.reporter)

    def batch(self, numbers: range) -> pa.Table:
        source = load_prompt(self.job.prompt.template, Answer())
        prompts = to_prompts(
            items_of(*map(record, numbers)), self.job, source, Ledger.empty, Identities()
        )
        return pack([prompts])

    def ids(self) -> list[str]:
        folder = Path(self.job.output.uri)
        if not list((folder / "answers").glob("part-*")):
            return []
        return sorted(stored(folder)["record_id"].to_pylist())


@pytest.fixture(scope="module")
def benches(tmp_path_factory) -> Iterator[Any]:
    patch = pytest.MonkeyPatch()

    def make(rows_per_file: int = 200, seconds: float = SOON, **accidents: Any) -> Bench:
        store = tmp_path_factory.mktemp("store")
        task = job("shards", store, rows_per_file, engine={"kind": "recorded"})
        task = task.model_copy(
            update={"output": task.output.model_copy(update={"flush_seconds": seconds})}
        )
        sink = AccidentalSink(
            str(store), Storage(), PartWriter("run-1"), rows_per_file, Accidents(**accidents)
        )
        bench = Bench(task, sink)
        patch.setattr(engine_loader, "open_engine", lambda *_: bench.engine)
        return bench

    yield make
    patch.undo()


def answered(receipt: pa.Table) -> Totals:
    (totals,) = receipts_in(receipt)
    return totals


def ids(numbers: range) -> list[str]:
    return sorted(record(n).record_id for n in numbers)


async def until(bench: Bench, count: int) -> float:
    """Seconds until so many rows are stored."""
    began = time.monotonic()
    while len(bench.ids()) < count:
        await asyncio.sleep(0.01)
    return time.monotonic() - began


def test_an_answer_is_stored_in_time_though_its_batch_goes_on(benches):
    delays = (seconds_until_stored(benches(seconds=FLUSH_SECONDS)) for _ in range(10))
    assert any(delay < FLUSH_SECONDS + 0.2 for delay in delays)  # other load lengthens some


def seconds_until_stored(bench: Bench) -> float:
    """How long the first three answers of a batch wait for the store, while a fourth is made."""
    bench.engine.waits = ["pond 3?"]

    async def watch() -> tuple[float, Totals]:
        batch = asyncio.create_task(bench.worker()(bench.batch(range(4))))
        seconds = await asyncio.wait_for(until(bench, 3), SOON)
        assert not batch.done()
        bench.engine.open.set()
        return seconds, answered(await batch)

    seconds, totals = asyncio.run(watch())
    assert (totals.states["answered"], totals.sums["parts"]) == (4, 2)
    assert bench.ids() == ids(range(4))
    return seconds


def test_batches_of_a_replica_share_parts(benches):
    bench = benches(seconds=FLUSH_SECONDS)
    bench.engine.waits = ["pond 2?", "pond 6?"]

    async def watch() -> list[Totals]:
        worker = bench.worker()
        halves = [bench.batch(range(3)), bench.batch(range(4, 7))]
        both = asyncio.gather(*(worker(half) for half in halves))
        await asyncio.wait_for(until(bench, 4), SOON)
        bench.engine.open.set()
        return [answered(receipt) for receipt in await both]

    first, second = asyncio.run(watch())
    assert (first.states["answered"], second.states["answered"]) == (3, 3)
    assert first.sums["parts"] + second.sums["parts"] == bench.sink.accidents.writes <= 3


def test_answers_that_could_not_be_stored_at_once_are_stored_with_the_next(benches):
    bench = benches(seconds=FLUSH_SECONDS, failures={1})
    bench.engine.waits = ["pond 2?"]

    async def watch() -> Totals:
        batch = asyncio.create_task(bench.worker()(bench.batch(range(3))))
        await asyncio.wait_for(until(bench, 2), SOON)
        bench.engine.open.set()
        return answered(await batch)

    assert asyncio.run(watch()).states["answered"] == 3
    assert bench.ids() == ids(range(3))


def test_a_batch_whose_last_answers_cannot_be_stored_fails(benches):
    bench = benches(failures={1})
    with pytest.raises(StorageError, match="no connection"):
        asyncio.run(bench.worker()(bench.batch(range(3))))


class KeepingSink:
    """Keeps the ids of each part's rows."""

    def __init__(self, rows_per_file: int) -> None:
        self.rows_per_file = rows_per_file
        self.parts: list[list[str]] = []

    def new_answers(self) -> Location:
        return Storage().at(f"part-{len(self.parts)}")

    def write_answers(self, part: Location, rows: pa.Table) -> int:
        self.parts.append(rows["record_id"].to_pylist())
        return 1


async def as_rows(ids: Sequence[Any]) -> pa.Table:
    return build(OUTCOMES, {"record_id": ids, "standing": ["answered"] * len(ids)}, len(ids))


@settings(max_examples=60)
@given(
    batches=st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=9), min_size=1, max_size=4),
    most=st.integers(5, 9),
)
def test_answers_that_come_together_stand_in_one_part(batches, most):
    """`batches` holds how many answers come together, in each batch of a replica."""
    sink = KeepingSink(most)
    together = [
        [[f"{at}-{group}-{n}" for n in range(size)] for group, size in enumerate(sizes)]
        for at, sizes in enumerate(batches)
    ]

    async def flush() -> int:
        flusher = Flusher(sink, Reporter(), SOON, as_rows, lambda _: None)
        begun = [flusher.begin(bytes([at])) for at in range(len(batches))]
        for batch, groups in zip(begun, together, strict=True):
            for group in groups:
                flusher.add(batch, group)
        finished = [await flusher.finish(batch) for batch in begun]
        return sum(totals.states["answered"] for totals in finished)

    every = [group for groups in together for group in groups]
    assert asyncio.run(flush()) == sum(map(len, every))
    assert sorted(id_ for part in sink.parts for id_ in part) == sorted(i for g in every for i in g)
    assert all(0 < len(part) <= most for part in sink.parts)
    assert all(sum({*group} <= {*part} for part in sink.parts) == 1 for group in every)


RECORDS, ROWS = 12, 3
WRITES = st.dictionaries(st.integers(1, 8), st.sampled_from(["before", "after"]), max_size=4)


def tries(bench: Bench) -> Iterator[Totals]:
    """The batch as Ray asks for it: again by a new replica, until one lives to the end."""
    batch = bench.batch(range(RECORDS))
    while True:
        try:
            yield answered(lived(bench.worker()(batch)))
        except Killed:
            bench.sink.accidents.is_killed = False
            continue
        return


@settings(max_examples=40, deadline=None)
@given(kills=WRITES)
def test_after_any_kills_every_answer_counts_once_and_none_is_stored_twice(benches, kills):
    bench = benches(ROWS, kills=kills)
    (totals,) = tries(bench)
    assert totals.states["answered"] == RECORDS
    assert totals.sums["read"] == RECORDS
    assert totals.sums["first_prompt_tokens"] == 10 * RECORDS
    assert bench.ids() == ids(range(RECORDS))


def test_what_is_stored_of_a_batch_is_not_generated_again(benches):
    bench = benches(ROWS, kills={3: "after"})
    batch = bench.batch(range(RECORDS))
    with pytest.raises(Killed):
        lived(bench.worker()(batch))
    bench.sink.accidents.is_killed = False
    kept, asked = bench.ids(), len(bench.engine.asked)
    assert len(kept) >= ROWS
    assert answered(asyncio.run(bench.worker()(batch))).states["answered"] == RECORDS
    again = bench.engine.asked[asked:]
    assert len(again) == RECORDS - len(kept)
