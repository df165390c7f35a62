"""What the clock of the benches writes down of an engine's steps, and what is read of it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.clock.sitecustomize import CLOCK
from tests.bench.steps import Step, Work
from tests.support.jobs import ROOT

WRITES = """
import os, signal
from tests.bench.clock.sitecustomize import CALL, STEP, Log

for name, struct, records in (("steps", STEP, {steps}), ("calls", CALL, {calls})):
    log = Log(name, struct)
    for fields in records:
        log.write(*fields)
os.kill(os.getpid(), signal.SIGKILL)
"""

WARM_UP = (1.0, 0, 0, 0, 0, 0)
STEPS = [(2.0, 300, 300, 2, 1, 0), (3.0, 2, 0, 2, 1, 0), (4.0, 2, 0, 2, 1, 1), (5.0, 2, 0, 2, 0, 1)]
CALLS = [(2.0, 2.5), (3.0, 3.9), (4.0, 4.9), (5.0, 6.0)]


def write_and_be_killed(folder: Path, steps: list[tuple], calls: list[tuple]) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", WRITES.format(steps=steps, calls=calls)],
        cwd=ROOT,
        check=False,
        env={**os.environ, CLOCK: str(folder)},
    )
    assert ended.returncode == -signal.SIGKILL


@pytest.fixture
def work(tmp_path: Path) -> Work:
    write_and_be_killed(tmp_path, [WARM_UP, *STEPS], [(0.5, 0.9), *CALLS])
    return Work.of(tmp_path)


def test_what_was_written_before_a_kill_is_read(work):
    assert work.steps == [Step(*fields) for fields in STEPS]
    assert work.calls == CALLS


def test_a_second_worker_adds_nothing(work, tmp_path):
    write_and_be_killed(tmp_path, STEPS, CALLS)
    again = Work.of(tmp_path)
    assert (again.steps, again.calls) == (work.steps, work.calls)


def test_a_worker_is_busy_while_its_calls_last(work):
    assert work.seconds == 4.0
    assert work.busy == pytest.approx((0.5 + 0.9 + 0.9 + 1.0) / 4.0)
    assert work.prefilled == 300


def test_a_batch_is_full_if_no_more_could_be_in_it(work):
    assert work.full(requests=4, sequences=2, tokens=1000) == 1.0
    assert work.full(requests=4, sequences=3, tokens=300) == pytest.approx(2 / 4)
