import io
import os
import pty
import re
import subprocess
import sys
from collections import Counter

from rich.console import Console

from jobs import progress
from jobs.progress import JobProgress
from pipeline.totals import Totals
from tests.support import ROOT, job, job_file, rows, write_jsonl


def test_elsewhere_than_on_a_terminal_plain_lines_come_at_intervals(monkeypatch):
    out = io.StringIO()
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    with JobProgress(Console(file=out), "night", input_bytes=200) as shown:
        shown(Totals(Counter(answered=6, failed=1, rejected=2), sums=Counter(stored_bytes=50)))
    (line,) = out.getvalue().splitlines()
    assert re.fullmatch(r"night: 25%, 9 records, [\d,]+/s, 1 failed, 2 rejected, \d+ s left", line)


def test_lines_do_not_come_more_often_than_that():
    out = io.StringIO()
    with JobProgress(Console(file=out), "night", input_bytes=200) as shown:
        for _ in range(50):
            shown(Totals(Counter(answered=6), sums=Counter(stored_bytes=50)))
    assert out.getvalue() == ""


def test_a_terminal_sees_a_bar_and_nothing_of_rays(tmp_path, ray_cluster):
    write_jsonl(tmp_path / "shards/a.jsonl", rows(range(3000)))
    file = job_file(tmp_path / "job.yaml", job(tmp_path / "shards", tmp_path / "store"))
    seen, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "jobs", "run", str(file)],
        cwd=ROOT,
        stderr=terminal,
        env={**os.environ, "RAY_ADDRESS": ray_cluster.address, "TERM": "xterm", "COLUMNS": "120"},
    )
    os.close(terminal)
    screen = _everything(seen)
    assert process.wait(60) == 0
    assert "━" in screen
    assert re.search(r"[\d,]+ records, [\d,]+/s, 0 failed, 0 rejected", screen)
    assert "core_worker" not in screen
    assert "WARNING" not in screen


def _everything(descriptor: int) -> str:
    """What a terminal got until its last writer closed it."""
    pieces = []
    while True:
        try:
            piece = os.read(descriptor, 65536)
        except OSError:
            break
        if not piece:
            break
        pieces.append(piece)
    return b"".join(pieces).decode(errors="replace")
