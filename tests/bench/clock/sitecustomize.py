"""Writes down what vLLM's scheduler and worker do, whatever starts them.

Every Python process of a contender imports it; it acts in those that run the scheduler and the
worker. Times are of the system's monotonic clock, which all processes share. The folder in
`OVERNIGHT_BENCH_CLOCK` gets two files of records, which `tests/bench/steps.py` reads, and a file
with the worker's process id. Files are written through memory: a system call would let go of the
interpreter's lock, and other threads would go first that have their turn while the worker computes.

With `OVERNIGHT_BENCH_CORES`, two numbers, the worker has the second core and everything else the
first, as a GPU has cores of its own.
"""

import mmap
import os
import struct
import time
from collections.abc import Callable
from itertools import takewhile
from operator import itemgetter
from typing import Any

CLOCK, CORES = "OVERNIGHT_BENCH_CLOCK", "OVERNIGHT_BENCH_CORES"

STEP, CALL = struct.Struct("d5i"), struct.Struct("dd")

MOST_BYTES = 2**24
"""Of a file, which takes no more room than what is written."""


class Log:
    """A file of records in the folder, behind which zeros follow.

    The process that writes first has it; of several workers, which keep in step, one is enough.
    """

    def __init__(self, name: str, record: struct.Struct) -> None:
        self._name = name
        self._record = record
        self._bytes: mmap.mmap | bytearray = bytearray()
        self._end = 0

    def write(self, *fields: float) -> None:
        self._bytes = self._bytes or self._opened()
        self._record.pack_into(self._bytes, self._end, *fields)
        self._end += self._record.size

    def _opened(self) -> mmap.mmap | bytearray:
        try:
            with open(os.path.join(os.environ[CLOCK], self._name), "xb+") as file:
                file.truncate(MOST_BYTES)
                return mmap.mmap(file.fileno(), MOST_BYTES)
        except FileExistsError:
            return bytearray(MOST_BYTES)


def records(content: bytes, record: struct.Struct) -> list[tuple[float, ...]]:
    """What a log has written: all before the first record of zeros, as no time is 0."""
    whole = memoryview(content)[: len(content) // record.size * record.size]
    return list(takewhile(itemgetter(0), record.iter_unpack(whole)))


def _timed(method: Callable[..., Any], log: Log) -> Callable[..., Any]:
    def timed(*arguments: Any, **named: Any) -> Any:
        began = time.monotonic()
        try:
            return method(*arguments, **named)
        finally:
            log.write(began, time.monotonic())

    return timed


def _counted(schedule: Callable[..., Any], log: Log) -> Callable[..., Any]:
    def counted(self: Any, *arguments: Any, **named: Any) -> Any:
        output = schedule(self, *arguments, **named)
        tokens = output.num_scheduled_tokens
        new = {request.req_id for request in output.scheduled_new_reqs}
        prefilled = sum(n for request, n in tokens.items() if n > 1 or request in new)
        finished = len(output.finished_req_ids)
        total, running, waiting = sum(tokens.values()), len(self.running), len(self.waiting)
        log.write(time.monotonic(), total, prefilled, running, waiting, finished)
        return output

    return counted


if CLOCK in os.environ:
    import wrapt

    cores = [int(core) for core in os.environ.get(CORES, "").split()]
    if cores:
        os.sched_setaffinity(0, {cores[0]})

    @wrapt.when_imported("vllm.v1.core.sched.scheduler")
    def _count_steps(module: Any) -> None:
        module.Scheduler.schedule = _counted(module.Scheduler.schedule, Log("steps", STEP))

    @wrapt.when_imported("vllm.v1.worker.gpu_worker")
    def _time_worker(module: Any) -> None:
        log = Log("calls", CALL)
        for name in ("execute_model", "sample_tokens"):
            setattr(module.Worker, name, _timed(getattr(module.Worker, name), log))
        made = module.Worker.__init__

        def init(self: Any, *arguments: Any, **named: Any) -> None:
            with open(os.path.join(os.environ[CLOCK], "worker"), "w") as file:
                file.write(str(os.getpid()))
            made(self, *arguments, **named)

        module.Worker.__init__ = init

    @wrapt.when_imported("vllm.v1.worker.cpu_worker")
    def _pin_worker(module: Any) -> None:
        start = module.CPUWorker.init_device

        def init_device(self: Any) -> None:
            if cores:
                os.sched_setaffinity(0, {cores[1]})
            start(self)

        module.CPUWorker.init_device = init_device
