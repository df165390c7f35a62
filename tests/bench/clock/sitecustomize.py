"""Writes down what vLLM's scheduler and worker do, whatever starts them.

Every Python process of a contender imports it; it acts in those that run the scheduler and the
worker. Times are of the system's monotonic clock, which all processes share. The folder in
`OVERNIGHT_BENCH_CLOCK` gets two files of records, which `tests/bench/steps.py` reads, and a file
with the worker's process id.

With `OVERNIGHT_BENCH_CORES`, two numbers, the worker has the second core and everything else the
first, as a GPU has cores of its own.
"""

import os
import struct
import time
from collections.abc import Callable
from typing import Any

CLOCK, CORES = "OVERNIGHT_BENCH_CLOCK", "OVERNIGHT_BENCH_CORES"

STEP, CALL = struct.Struct("d5i"), struct.Struct("dd")


class Log:
    """A file in the folder, opened by the process that writes it first."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._file = -1

    def write(self, record: bytes) -> None:
        if self._file < 0:
            path = os.path.join(os.environ[CLOCK], self._name)
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(self._file, record)


def _timed(method: Callable[..., Any], log: Log) -> Callable[..., Any]:
    def timed(*arguments: Any, **named: Any) -> Any:
        began = time.monotonic()
        try:
            return method(*arguments, **named)
        finally:
            log.write(CALL.pack(began, time.monotonic()))

    return timed


def _counted(schedule: Callable[..., Any], log: Log) -> Callable[..., Any]:
    def counted(self: Any, *arguments: Any, **named: Any) -> Any:
        output = schedule(self, *arguments, **named)
        tokens = output.num_scheduled_tokens
        new = {request.req_id for request in output.scheduled_new_reqs}
        prefilled = sum(n for request, n in tokens.items() if n > 1 or request in new)
        finished = len(output.finished_req_ids)
        total, running, waiting = sum(tokens.values()), len(self.running), len(self.waiting)
        log.write(STEP.pack(time.monotonic(), total, prefilled, running, waiting, finished))
        return output

    return counted


if CLOCK in os.environ:
    import wrapt

    cores = [int(core) for core in os.environ.get(CORES, "").split()]
    if cores:
        os.sched_setaffinity(0, {cores[0]})

    @wrapt.when_imported("vllm.v1.core.sched.scheduler")
    def _count_steps(module: Any) -> None:
        module.Scheduler.schedule = _counted(module.Scheduler.schedule, Log("steps"))

    @wrapt.when_imported("vllm.v1.worker.gpu_worker")
    def _time_worker(module: Any) -> None:
        log = Log("calls")
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
