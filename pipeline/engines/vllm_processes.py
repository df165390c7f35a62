"""The processes that vLLM runs a model in: what they said before they died, and that they are gone.

Raised here, vLLM's exceptions say no more than that there was another one in a process below; that
one is in its log.
"""

import os
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path

import orjson
import psutil

GRACE_SECONDS = 10

_ERROR_ENDINGS = ("Error:", "Exception:", "Interrupt:")
_CONSEQUENCE = "EngineDeadError"


class ErrorLog:
    """A file that vLLM's processes log their errors to; they are told of it by the environment."""

    def __init__(self) -> None:
        folder = Path(tempfile.mkdtemp(prefix="overnight-vllm-"))
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
        described = folder / "logging.json"
        described.write_bytes(orjson.dumps(config))
        os.environ.setdefault("VLLM_LOGGING_CONFIG_PATH", str(described))

    def clear(self) -> None:
        os.truncate(self._path, 0)

    def reason(self) -> str | None:
        """The first exception that was logged; those after it are of the processes around it."""
        for line in self._path.read_text(errors="replace").splitlines():
            name = line.split(" ", 1)[0]
            if name.endswith(_ERROR_ENDINGS) and _CONSEQUENCE not in name:
                return " ".join(line.split())
        return None


@cache
def error_log() -> ErrorLog:
    """The log of this process's engine; there is one engine in a process."""
    return ErrorLog()


def processes_below() -> set[psutil.Process]:
    """All that run below this process but Python's own resource tracker, which outlives engines."""
    found = psutil.Process().children(recursive=True)
    return {process for process in found if "resource_tracker" not in _command(process)}


def strike(processes: Iterable[psutil.Process]) -> None:
    """Kills, and leaves it to their parents to wait for them."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def end(processes: Iterable[psutil.Process]) -> None:
    """Kills what is left: a worker that hangs in its driver survives the signals of its parent."""
    left = [process for process in processes if process.is_running()]
    strike(left)
    psutil.wait_procs(left, GRACE_SECONDS)


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
