"""A thousand replicas and one coordinator: right sums, an end that reaches all, cheap polls."""

import asyncio
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import ray

from pipeline.answering import stop_signal
from pipeline.answering.evaluate import Evaluator
from pipeline.answering.replica import BatchWorker
from pipeline.cluster import coordinator
from pipeline.cluster.coordinator import Coordinator, Process
from pipeline.cluster.counters import EngineCounts, RunCounts
from pipeline.cluster.identities import Identities
from pipeline.cluster.session import actor_beside_driver
from pipeline.config.schema import Answer
from pipeline.core.filesystem import Storage
from pipeline.prompting.batching import to_batches
from pipeline.prompting.render import to_prompts
from pipeline.prompting.template import load_prompt
from pipeline.store.ledger import Ledger
from pipeline.store.parts import PartWriter
from pipeline.store.sink import Sink
from tests.support.crowd import NODE_ID, ROWS, Crowded, LocalReporter, RemoteReporter
from tests.support.jobs import job, record
from tests.support.shards import items_of

MANY = 1000


def crowd(run: Coordinator, size: int = MANY, seconds: float = 0.05) -> list[Crowded]:
    """Replicas that have loaded their engines."""
    replicas = [Crowded(LocalReporter(run, n), lambda: seconds) for n in range(size)]
    for replica in replicas:
        replica.start()
    return replicas


async def until(holds: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("seed", range(3))
def test_the_counts_of_a_thousand_replicas_add_up_in_whatever_order_they_come(seed):
    chance, run = random.Random(seed), Coordinator(MANY)
    crowd(run)
    latest: dict[int, EngineCounts] = {}
    for _ in range(5 * MANY):
        n = chance.randrange(MANY)
        more = EngineCounts(*(chance.randrange(9) for _ in EngineCounts._fields))
        latest[n] = latest.get(n, EngineCounts()).plus(more)
        run.heartbeat(Process(NODE_ID, n), latest[n], False)
    counts = run.counts()
    for name in EngineCounts._fields:
        assert getattr(counts.engines, name) == sum(getattr(c, name) for c in latest.values())
    assert counts.in_engines == sum(c.in_progress for c in latest.values())
    assert counts.may_begin == len(latest)


def test_the_end_reaches_a_thousand_replicas_and_all_say_that_they_begin_no_more(monkeypatch):
    monkeypatch.setattr(stop_signal, "HEARTBEAT_SECONDS", 0.05)
    run = Coordinator(MANY)

    async def night() -> RunCounts:
        at_work = [asyncio.create_task(replica.work()) for replica in crowd(run)]
        await until(lambda: run.counts().may_begin == MANY)
        await until(lambda: run.counts().engines.batches > MANY)
        run.end(30)
        await asyncio.wait_for(asyncio.gather(*at_work), 20)
        return run.counts()

    counts = asyncio.run(night())
    assert (counts.may_begin, counts.in_engines) == (0, 0)
    assert counts.engines.done == counts.engines.asked == counts.engines.batches * ROWS
    assert counts.replicas == {"answering": MANY}


def test_a_batch_that_the_end_cuts_short_is_no_longer_in_the_engines(monkeypatch):
    monkeypatch.setattr(stop_signal, "HEARTBEAT_SECONDS", 0.05)
    run = Coordinator(MANY)

    async def night() -> RunCounts:
        at_work = [asyncio.create_task(r.work()) for r in crowd(run, seconds=3600)]
        await until(lambda: run.counts().in_engines == MANY * ROWS)
        run.end(0.2)
        await asyncio.wait_for(asyncio.gather(*at_work), 20)
        return run.counts()

    counts = asyncio.run(night())
    assert (counts.may_begin, counts.in_engines, counts.engines.done) == (0, 0, 0)


def test_the_dead_among_a_thousand_are_dropped_and_what_they_did_still_counts(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(coordinator.time, "monotonic", lambda: clock[0])
    run, one = Coordinator(MANY), EngineCounts(asked=3, answered=2)
    crowd(run)
    for n in range(MANY):
        run.heartbeat(Process(NODE_ID, n), one, False)
    clock[0] = coordinator.SILENT_SECONDS + 1
    living = [n for n in range(MANY) if n % 10]
    for n in living:
        run.heartbeat(Process(NODE_ID, n), one, False)
    counts = run.counts()
    assert counts.in_engines == counts.may_begin == len(living) == sum(counts.replicas.values())
    assert counts.engines.answered == 2 * MANY


@contextmanager
def calls() -> Iterator[Counter[str]]:
    """How often functions of Python and of C are called while the block lasts."""
    made: Counter[str] = Counter()
    sys.setprofile(lambda _, event, __: made.update([event]))
    try:
        yield made
    finally:
        sys.setprofile(None)


def test_what_a_poll_costs_does_not_grow_with_messages():
    costs = []
    for messages in (1, 20):
        run = Coordinator(MANY)
        crowd(run)
        for number in range(messages):
            for n in range(MANY):
                run.announce(f"part-{n}-{number}", [number.to_bytes(16)])
                run.heartbeat(Process(NODE_ID, n), EngineCounts(asked=number), False)
        with calls() as made:
            run.counts()
        costs.append(made)
    assert costs[0] == costs[1]


class Noted(LocalReporter):
    """Notes what a replica sends for batches; its first heartbeat says that it may begin."""

    def __init__(self) -> None:
        super().__init__(Coordinator(1), 1)
        self.sent: list[str] = []

    def __getattribute__(self, name: str) -> Any:
        if name in ("heartbeat", "worked", "announce", "parts_of"):
            self.sent.append(name)
        return super().__getattribute__(name)

    def for_batches(self) -> list[str]:
        first = self.sent.index("heartbeat")
        return self.sent[:first] + self.sent[first + 1 :]


def sent_for_a_batch(records: int, folder: Path) -> list[str]:
    """By a replica with an engine."""
    recorded = job("shards", folder, engine={"kind": "recorded"})
    source = load_prompt(recorded.prompt.template, Answer())
    items = items_of(*(record(n, recorded_answer="Three herons.") for n in range(records)))
    prompts = to_prompts(items, recorded, source, Ledger.empty, Identities())
    batch = to_batches(prompts, recorded, source, 1)
    sink = Sink(str(folder), Storage(), PartWriter("run-1"), recorded.rows_per_file)
    reporter = Noted()
    asyncio.run(BatchWorker(recorded, source, Evaluator.of(recorded), sink, reporter)(batch))
    return reporter.for_batches()


def test_a_batch_is_four_messages_however_many_records_it_has(tmp_path, monkeypatch):
    """Those of the crowd, which the benchmark sends."""
    monkeypatch.setattr(stop_signal, "HEARTBEAT_SECONDS", 3600)
    reporter = Noted()
    reporter.state("ready")

    async def one_batch() -> None:
        replica = Crowded(reporter, lambda: 0.01)
        at_work = asyncio.create_task(replica.work())
        await until(lambda: replica.counts.batches == 1)
        at_work.cancel()

    asyncio.run(one_batch())
    crowded = reporter.for_batches()[:4]
    assert crowded == ["parts_of", "worked", "announce", "heartbeat"]
    assert sent_for_a_batch(3, tmp_path / "3") == sent_for_a_batch(60, tmp_path / "60") == crowded


def test_the_actor_hears_of_a_crowd_and_the_crowd_of_the_end(ray_cluster):
    """Real messages, from more replicas than this machine has room for."""
    size = 100

    async def night(actor: Any) -> tuple[RunCounts, float]:
        replicas = [Crowded(RemoteReporter(actor, n), lambda: 0.5) for n in range(size)]
        for replica in replicas:
            replica.start()
        at_work = [asyncio.create_task(replica.work()) for replica in replicas]
        while (await actor.counts.remote()).may_begin < size:
            await asyncio.sleep(0.1)
        ended = time.monotonic()
        await actor.end.remote(30)
        await asyncio.gather(*at_work)
        return await actor.counts.remote(), time.monotonic() - ended

    with actor_beside_driver(Coordinator, size) as actor:
        counts, seconds = asyncio.run(night(actor))
        assert len(ray.get(actor.replicas.remote())) == size
    assert seconds < 15  # a heartbeat, on a machine that has other things to do
    assert (counts.may_begin, counts.in_engines) == (0, 0)
    assert counts.engines.done == counts.engines.asked
