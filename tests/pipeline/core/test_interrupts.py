"""SIGTERM ends coroutines in order, whatever they do when it comes."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from pipeline.core.interrupts import interruptible


@pytest.fixture(autouse=True)
def raising() -> Iterator[None]:
    """What the commands do with SIGTERM."""

    def interrupt(number, frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    yield
    assert signal.signal(signal.SIGTERM, before) is interrupt


class Work:
    """Two tasks of a group and one that belongs to none; one of them sends SIGTERM."""

    def __init__(self, computes: bool) -> None:
        self.computes = computes
        self.begun, self.ended = 0, 0
        self.others: set[asyncio.Task] = set()

    async def run(self) -> None:
        self.others.add(asyncio.create_task(self.wait()))
        async with asyncio.TaskGroup() as group:
            group.create_task(self.wait())
            group.create_task(self.signalled())

    async def wait(self) -> None:
        self.begun += 1
        try:
            await asyncio.sleep(3600)
        finally:
            self.ended += 1

    async def signalled(self) -> None:
        if self.computes:  # the signal finds a task at work
            os.kill(os.getpid(), signal.SIGTERM)
            for _ in range(1000):
                time.sleep(0)
        else:  # it finds the loop waiting
            threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM)).start()
        await self.wait()


@pytest.mark.parametrize("computes", [True, False])
def test_every_task_ends_before_the_interrupt_is_raised(caplog, computes):
    work = Work(computes)
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(interruptible(work.run()))
    assert work.ended == work.begun == 3
    assert not caplog.records


def test_a_second_signal_does_not_wait():
    async def stubborn() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(3600)

    threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM)).start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(interruptible(stubborn()))
    assert time.monotonic() - began < 30


def test_work_that_is_cancelled_otherwise_is_not_interrupted():
    async def cancelled() -> None:
        task = asyncio.create_task(interruptible(asyncio.sleep(3600)))
        await asyncio.sleep(0)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled())


def test_what_the_work_returns_is_returned_in_any_thread():
    async def work() -> int:
        return 7

    found = []
    thread = threading.Thread(target=lambda: found.append(asyncio.run(interruptible(work()))))
    thread.start()
    thread.join()
    assert found == [asyncio.run(interruptible(work()))] == [7]
