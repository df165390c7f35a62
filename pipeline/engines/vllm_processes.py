"""The processes that vLLM runs a model in: how they are known, why they died, how they are ended.

The exceptions that vLLM raises in this process only refer to another one in a subprocess; that one
stands in the subprocess's log.
"""

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import orjson
import psutil

from pipeline.engines.watchdog import MARK, start_watchdog

EXIT_SECONDS = 10

LOGGING = "VLLM_LOGGING_CONFIG_PATH"

_ERROR_ENDINGS = ("Error:", "Exception:", "Interrupt:")
_CONSEQUENCE = "EngineDeadError"


LONGEST_SOCKET_FOLDER = 60
"""Characters; a socket's whole path has 107 at most, and vLLM's names have 36."""


@cache
def engine_folder() -> Path:
    """The temporary folder of this process's engine; a process has one engine.

    A watchdog removes it after the end of this process, and kills what is left of the engine.
    """
    folder = Path(tempfile.mkdtemp(prefix="overnight-vllm-"))
    start_watchdog(folder)
    return folder


@contextmanager
def marked_processes() -> Iterator[None]:
    """Processes started in this block are known as those of the engine, and so are their sockets;
    their errors go to its log, unless the user has configured vLLM's logging.
    """
    folder = str(engine_folder())
    variables = {MARK: folder, LOGGING: os.environ.get(LOGGING, error_log().configuration)}
    if len(folder) <= LONGEST_SOCKET_FOLDER:
        variables["VLLM_RPC_BASE_PATH"] = folder
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


class ErrorLog:
    """A file that vLLM's processes log errors to; `configuration` is the path of what says so."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "errors.log"
        self._path.touch()
        file = {"class": "logging.FileHandler", "filename": str(self._path), "level": "ERROR"}
        console = {"class": "logging.StreamHandler", "level": "INFO"}
        config = {
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {"file": file, "console": console},
            "loggers": {
                "vllm": {"handlers": ["file", "console"], "level": "INFO", "propagate": False}
            },
        }
        path = folder / "logging.json"
        path.write_bytes(orjson.dumps(config))
        self.configuration = str(path)

    def clear(self) -> None:
        os.truncate(self._path, 0)

    def first_error(self) -> str | None:
        """The first logged exception; later ones come from processes that it took down."""
        for line in self._path.read_text(errors="replace").splitlines():
            name = line.split(" ", 1)[0]
            if name.endswith(_ERROR_ENDINGS) and _CONSEQUENCE not in name:
                return " ".join(line.split())
        return None


@cache
def error_log() -> ErrorLog:
    """The log of this process's engine."""
    return ErrorLog(engine_folder())


def descendants() -> set[psutil.Process]:
    """All processes below this one but Python's own resource tracker, which outlives engines."""
    processes = psutil.Process().children(recursive=True)
    return {process for process in processes if "resource_tracker" not in _command(process)}


def kill(processes: Iterable[psutil.Process]) -> None:
    """Sends SIGKILL; their parents wait for them."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def kill_and_wait(processes: Iterable[psutil.Process]) -> None:
    """Kills what is left: a worker that hangs in its driver survives its parent's signals."""
    left = [process for process in processes if process.is_running()]
    kill(left)
    psutil.wait_procs(left, EXIT_SECONDS)


@contextmanager
def processes_ended() -> Iterator[None]:
    """Ends the processes that an engine starts within the block, also where it is interrupted."""
    before = descendants()
    try:
        yield
    finally:
        kill_and_wait(descendants() - before)


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
