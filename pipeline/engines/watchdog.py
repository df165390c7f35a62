"""Ends the processes of an engine once their replica has ended, however that came.

It is a program of its own outside the replica's process tree, so that what kills the replica with
all that is below it leaves it alone. It looks if the replica still lives. If not, it kills every
process with the replica's folder in its environment, whoever its parent is by now, and removes the
folder. Those processes cannot do that themselves: in a long step they hear of nothing.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

MARK = "OVERNIGHT_ENGINE_FOLDER"
"""The variable by which the processes of an engine are known."""

KILLING_SECONDS = 10.0
"""How long processes are looked for: a driver may take a while to let go of one."""

LOOK_SECONDS = 0.2


def start_watchdog(folder: Path) -> None:
    """Has a watchdog wait for the end of this process, for those marked with the folder."""
    # Without this process's environment, which may be marked.
    subprocess.run(  # noqa: S603  all of it is ours
        [sys.executable, "-I", __file__, str(os.getpid()), str(folder)],
        env={},
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )


def marked(folder: str) -> Iterator[psutil.Process]:
    """The processes marked with the folder, but Python's resource tracker.

    It ends by itself, after it has removed the shared memory that those processes leave.
    """
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(MARK) == folder and not _is_tracker(process):
                yield process


def _is_tracker(process: psutil.Process) -> bool:
    return any("resource_tracker" in argument for argument in process.cmdline())


def _watch(replica: psutil.Process, folder: str) -> None:
    while _lives(replica):
        time.sleep(LOOK_SECONDS)
    deadline = time.monotonic() + KILLING_SECONDS
    while (left := list(marked(folder))) and time.monotonic() < deadline:
        for process in left:
            with suppress(psutil.Error):
                process.kill()
        time.sleep(LOOK_SECONDS)
    shutil.rmtree(folder, ignore_errors=True)


def _lives(process: psutil.Process) -> bool:
    """Not if it has ended and waits for its parent to notice, which may never do so."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _main(pid: str, folder: str) -> None:
    replica = psutil.Process(int(pid))  # while the replica still waits for this process
    if os.fork() == 0:
        os.setsid()
        _watch(replica, folder)


if __name__ == "__main__":
    _main(*sys.argv[1:])
