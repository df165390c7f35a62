"""Nothing of an engine outlives its replica, however that ends."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from pipeline.engines import watchdog
from tests.support.jobs import ROOT

SECONDS = 5.0

REPLICA = """
import os, subprocess, sys, time
from pathlib import Path
from pipeline.engines import watchdog

folder = Path(sys.argv[1])
watchdog.start_watchdog(folder)
os.environ[watchdog.MARK] = str(folder)
STUCK = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
PARENT = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {STUCK!r}])"
subprocess.Popen([sys.executable, "-c", STUCK])
subprocess.Popen([sys.executable, "-c", STUCK], start_new_session=True)
subprocess.run([sys.executable, "-c", PARENT])
print("ready", flush=True)
sys.stdin.readline()
"""
"""Has a child, a child in a session of its own, and a grandchild whose parent has ended; all of
them ignore SIGTERM."""


@pytest.fixture
def replica(tmp_path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    folder = tmp_path / "engine"
    folder.mkdir()
    (folder / "errors.log").write_text("nothing")
    process = subprocess.Popen(
        [sys.executable, "-c", REPLICA, str(folder)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    yield process, folder
    process.kill()
    process.wait(SECONDS)
    for left in watchdog.marked(str(folder)):
        left.kill()


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()


def terminate(process: subprocess.Popen[str]) -> None:
    process.terminate()


def end(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.close()


def kill_its_group(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGKILL)


def kill_its_children_first(process: subprocess.Popen[str]) -> None:
    """As Ray does when a worker ends."""
    for child in psutil.Process(process.pid).children(recursive=True):
        child.kill()
    process.kill()


@pytest.mark.parametrize("ended", [kill, terminate, end, kill_its_group, kill_its_children_first])
def test_no_process_and_no_folder_of_an_engine_is_left(
    replica, ended: Callable[[subprocess.Popen[str]], None]
):
    process, folder = replica
    assert len(list(watchdog.marked(str(folder)))) == 3
    ended(process)
    process.wait(SECONDS)
    until = time.monotonic() + SECONDS
    while (list(watchdog.marked(str(folder))) or folder.exists()) and time.monotonic() < until:
        time.sleep(0.05)
    assert list(watchdog.marked(str(folder))) == []
    assert not folder.exists()


def test_the_watchdog_leaves_others_alone_and_ends_itself(replica, tmp_path):
    process, folder = replica
    other = {**os.environ, watchdog.MARK: f"{folder}-2"}
    neighbour = subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env=other
    )
    process.kill()
    until = time.monotonic() + SECONDS
    while (watching := list(watchdogs_of(folder))) and time.monotonic() < until:
        time.sleep(0.05)
    assert watching == []
    assert neighbour.poll() is None
    neighbour.communicate(b"\n")


def watchdogs_of(folder: Path) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        try:
            command = process.cmdline()
        except psutil.Error:
            continue
        if watchdog.__file__ in command and str(folder) in command:
            yield process


def test_a_replica_that_lives_keeps_its_engine(replica):
    _, folder = replica
    assert len(list(watchdogs_of(folder))) == 1
    time.sleep(2 * watchdog.LOOK_SECONDS)
    assert len(list(watchdog.marked(str(folder)))) == 3
