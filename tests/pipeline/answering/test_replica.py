"""A replica loads its engine once, as soon as work is known, and begins nothing once a run ends."""

import asyncio
from collections.abc import Callable, Sequence
from threading import Event

import pyarrow as pa
import pytest

from pipeline.answering import engine_loader
from pipeline.answering.evaluate import Evaluator
from pipeline.answering.replica import BatchWorker
from pipeline.cluster.coordinator import Coordinator
from pipeline.cluster.identities import Identities
from pipeline.cluster.reporter import Reporter
from pipeline.config.schema import Answer, Job
from pipeline.core.accounting import Totals
from pipeline.core.arrow import receipts_in, unpack
from pipeline.core.errors import EngineError
from pipeline.core.filesystem import Storage
from pipeline.engines import open_engine
from pipeline.prompting.batching import to_batches
from pipeline.prompting.render import to_prompts
from pipeline.prompting.template import PromptSource, load_prompt
from pipeline.store.ledger import Ledger
from pipeline.store.parts import PartWriter
from pipeline.store.sink import Sink
from tests.support.crowd import LocalReporter
from tests.support.jobs import job, record
from tests.support.shards import items_of

RECORDS = 3

Task = tuple[Job, PromptSource, Evaluator, Sink]


@pytest.fixture
def task(tmp_path) -> Task:
    recorded = job("shards", tmp_path, engine={"kind": "recorded"})
    sink = Sink(str(tmp_path), Storage(), PartWriter("run-1"), recorded.rows_per_file)
    return recorded, load_prompt(recorded.prompt.template, Answer()), Evaluator.of(recorded), sink


def batch_for(task: Task) -> pa.Table:
    """A packed batch of three records."""
    recorded, source, *_ = task
    items = items_of(*(record(n, recorded_answer="Three herons.") for n in range(RECORDS)))
    prompts = to_prompts(items, recorded, source, Ledger.empty, Identities())
    batch = to_batches(prompts, recorded, source, 1)
    assert (batch.num_rows, unpack(batch)["standing"].to_pylist().count("work")) == (1, RECORDS)
    return batch


def totals_in(receipt: pa.Table) -> Totals:
    (totals,) = receipts_in(receipt)
    return totals


class KnowsOfWork(Reporter):
    """Says at once that a record needs an answer."""

    def wait_for_work(self) -> bool:
        return True


@pytest.fixture
def opened(monkeypatch) -> Event:
    """Set when a replica opens its engine, which fails if it does so twice."""
    opened = Event()

    def open_once(*arguments):
        assert not opened.is_set()
        opened.set()
        return open_engine(*arguments)

    monkeypatch.setattr(engine_loader, "open_engine", open_once)
    return opened


def test_the_engine_begins_to_load_when_work_is_known_and_before_a_batch_comes(task, opened):
    BatchWorker(*task, KnowsOfWork())
    assert opened.wait(10)


def test_without_word_of_work_the_engine_loads_with_the_first_batch(task, opened):
    worker = BatchWorker(*task)
    assert not opened.wait(0.2)
    asyncio.run(worker(batch_for(task)))
    assert opened.is_set()


@pytest.mark.parametrize("reporter", [KnowsOfWork, Reporter])
def test_all_batches_share_one_engine(task, opened, reporter: Callable[[], Reporter]):
    worker = BatchWorker(*task, reporter())

    async def two_batches() -> list[pa.Table]:
        return await asyncio.gather(worker(batch_for(task)), worker(batch_for(task)))

    receipts = map(totals_in, asyncio.run(two_batches()))
    assert [totals.states["answered"] for totals in receipts] == [RECORDS, RECORDS]


@pytest.mark.parametrize("reporter", [KnowsOfWork, Reporter])
def test_an_engine_that_does_not_open_is_an_error_of_the_first_batch(
    task, monkeypatch, reporter: Callable[[], Reporter]
):
    def fail(*_: object) -> None:
        raise EngineError("no such model")

    monkeypatch.setattr(engine_loader, "open_engine", fail)
    worker = BatchWorker(*task, reporter())
    with pytest.raises(EngineError, match="no such model"):
        asyncio.run(worker(batch_for(task)))


def test_an_engine_that_is_not_ready_in_time_is_an_error(task, monkeypatch):
    recorded, *others = task
    impatient = recorded.engine.model_copy(update={"start_seconds": 0.1})
    monkeypatch.setattr(engine_loader, "open_engine", lambda *_: Event().wait(5))
    worker = BatchWorker(recorded.model_copy(update={"engine": impatient}), *others)
    with pytest.raises(EngineError, match=r"engine\.start_seconds: recorded was not ready after"):
        asyncio.run(worker(batch_for(task)))


class Ending(Reporter):
    """Says in how many seconds the run ends, if at all; keeps the reported counts."""

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        self.done: list[int] = []

    async def heartbeat(self, counts, is_stopping) -> float | None:
        self.done.append(counts.done)
        return self.seconds


@pytest.mark.parametrize(("seconds", "answered"), [(5.0, 0), (None, RECORDS)])
def test_a_replica_begins_its_first_batch_only_if_the_run_goes_on(task, seconds, answered):
    reporter = Ending(seconds)
    totals = totals_in(asyncio.run(BatchWorker(*task, reporter)(batch_for(task))))
    assert totals.states["answered"] == answered
    assert totals.sums["read"] == answered
    assert reporter.done[-1] == answered


class Local(LocalReporter):
    """Every batch has been answered, and is stored in these parts."""

    parts: Sequence[str] = ()

    async def parts_of(self, batch: bytes) -> Sequence[str]:
        return self.parts


def test_a_replica_whose_batches_were_all_stored_before_says_too_that_it_begins_no_more(task):
    """It is told that the run goes on, and the end of a run waits for all who were."""
    run = Coordinator(1)
    asyncio.run(BatchWorker(*task, LocalReporter(run, 1))(batch_for(task)))
    reporter = Local(run, 2)
    reporter.parts = [part for parts in run._parts.values() for part in parts]

    async def again() -> Totals:
        totals = totals_in(await BatchWorker(*task, reporter)(batch_for(task)))
        assert run.counts().may_begin == 1  # the one heard from last
        run.end(5)
        while run.counts().may_begin:
            await asyncio.sleep(0.05)
        return totals

    totals = asyncio.run(asyncio.wait_for(again(), 10))
    assert totals.states["answered"] == run.counts().engines.done == RECORDS
