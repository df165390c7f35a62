"""Processes and threads of this project."""

import gc
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from threading import Event, Thread

import pyarrow as pa

from pipeline.core.garbage import collect_garbage_rarely


@contextmanager
def periodic_calls(call: Callable[[], object], seconds: float) -> Iterator[None]:
    """Makes a call every `seconds` in a thread while the block lasts, and never after it."""
    ended = Event()

    def repeat() -> None:
        while not ended.wait(seconds):
            call()

    thread = Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def output_to(target: int) -> Iterator[None]:
    """Redirects standard output and standard error to another descriptor while the block lasts.

    Libraries and their processes write there as they please; a document of `--json` stays alone.
    """
    sys.stdout.flush()
    originals = [(stream, os.dup(stream)) for stream in (1, 2)]
    try:
        for stream, _ in originals:
            os.dup2(target, stream)
        yield
    finally:
        sys.stdout.flush()
        for stream, original in originals:
            os.dup2(original, stream)
            os.close(original)


NICENESS = 10
"""How much reading and arranging give way to engines on the same cores."""


@cache
def set_up_worker(on_gpus: bool = False, has_engine: bool = False) -> None:
    """Sets up the process of a worker, once.

    Ray shows all GPUs of a node to a process that asked for none; they are hidden, so that no
    library can take memory on them. One without an engine gives way to those with one, so that
    a GPU never waits for a core that reads. The modules of Ray and pandas are exempt from garbage
    collection. Arrow's default allocator keeps the memory of finished blocks; jemalloc, if the
    build has it, returns it.
    """
    if not on_gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    if not has_engine:
        os.nice(NICENESS)
    gc.collect()
    gc.freeze()
    collect_garbage_rarely()
    with suppress(NotImplementedError):
        pa.set_memory_pool(pa.jemalloc_memory_pool())
