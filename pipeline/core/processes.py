"""Processes and threads of this project."""

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from threading import Event, Thread

import pyarrow as pa


@contextmanager
def now_and_then(call: Callable[[], object], seconds: float) -> Iterator[None]:
    """Calls every so many seconds in a thread, as long as the block lasts; never after it."""
    over = Event()

    def calls() -> None:
        while not over.wait(seconds):
            call()

    thread = Thread(target=calls, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@cache
def settle(on_gpus: bool = False) -> None:
    """Sets a worker's process up for a night of tables, once.

    Ray shows every GPU of its node to a process that asked for none; here it sees none, so that no
    library can take memory of one. The garbage collector would walk over Ray's and pandas's modules
    again and again, which takes a tenth of the time. Arrow's default allocator keeps what blocks
    have left; jemalloc, where the build has it, gives it back.
    """
    if not on_gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    gc.collect()
    gc.freeze()
    with suppress(NotImplementedError):
        pa.set_memory_pool(pa.jemalloc_memory_pool())
