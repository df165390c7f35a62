"""A job submitted to a standing cluster, whose nodes come and go during the run."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from ray.cluster_utils import Cluster

from pipeline.core.filesystem import Storage
from pipeline.store.reader import read_rows
from pipeline.store.runs import all_runs
from tests.support.clusters import KEEPS_WORKERS, MEMORY, QUICK_HEALTH_CHECKS, nodes
from tests.support.jobs import ROOT, S3, free_port, job, job_file, rows, write_jsonl

RECORDS, FEW, NODES = 5_000, 500, 2
NODE = {"num_cpus": 2, "num_gpus": 1, "object_store_memory": MEMORY}
DISKS = count()
GRACE_SECONDS, STOP_SECONDS = 8, 90


def a_node() -> dict[str, Any]:
    """Arguments for a node that has uploaded code to itself, as one on a machine of its own.

    A node that starts unpacks it anew; those that share the folder would miss modules meanwhile.
    """
    return {**NODE, "runtime_env_dir_name": f"disk-{next(DISKS)}"}


@dataclass(frozen=True)
class Standing:
    """A head without work and two nodes that claim a GPU each."""

    cluster: Cluster
    dashboard: str


@pytest.fixture(scope="module")
def standing(environment) -> Iterator[Standing]:
    here = str(Path(sys.executable).parent)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_JOB_STOP_WAIT_TIME_S", str(STOP_SECONDS))
        patch.setenv("PATH", here, prepend=os.pathsep)  # as the images have it
        head = {
            "num_cpus": 0,
            "include_dashboard": True,
            "dashboard_port": (port := free_port()),
            "dashboard_agent_listen_port": free_port(),  # the usual one may be another cluster's
        }
        workers = [a_node() for _ in range(NODES)]
        with nodes(head, *workers, system=KEEPS_WORKERS | QUICK_HEALTH_CHECKS) as cluster:
            yield Standing(cluster, f"http://127.0.0.1:{port}")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """What is uploaded to the cluster, besides a job file."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("jobs", "pipeline", "conf"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def submit(checkout: Path, standing: Standing, file: Path, *more: str) -> subprocess.Popen:
    return subprocess.Popen(
        [
            *(sys.executable, str(ROOT / "deploy/ray/submit.py")),
            *("--address", standing.dashboard, *more, str(file.relative_to(checkout))),
        ],
        cwd=checkout,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def document(log: str) -> dict:
    """The document that `--json` printed, from the driver's log."""
    return json.loads(log[log.index("\n{\n") : log.rindex("\n}\n") + 3])


def write_job(checkout: Path, server: S3, records: int, name: str) -> Path:
    for at in range(0, records, 250):
        write_jsonl(checkout / f"{name}/{at:05}.jsonl", rows(range(at, at + 250)))
    submitted = job(
        checkout / name,
        f"s3://submitted/{name}",
        50,
        engine={"kind": "extractive", "replicas": {"min": 1, "max": NODES}, "gpus_per_replica": 1},
        prompt="conf/prompts/instructions-first.md",
        grace_seconds=GRACE_SECONDS,
        storage=server.storage(),
    )
    return job_file(checkout / f"{name}.yaml", submitted)


def stored_ids(server: S3, name: str) -> list[str]:
    store = Storage(server.storage()).at(f"s3://submitted/{name}")
    tables = read_rows(store, columns=["record_id"])
    return [record_id for table in tables for record_id in table["record_id"].to_pylist()]


def parts(server: S3, name: str) -> int:
    """Counted in the server's folder: requests would slow the run down."""
    assert server.folder
    return sum(1 for _ in (server.folder / "submitted" / name / "answers").glob("part-*"))


def wait_for_parts(run: subprocess.Popen, server: S3, name: str, more: int) -> None:
    wanted = parts(server, name) + more
    while parts(server, name) < wanted and run.poll() is None:
        time.sleep(0.2)


@pytest.fixture(scope="module")
def bucket(rclone_s3) -> S3:
    Storage(rclone_s3.storage()).at("s3://submitted").fs.mkdir("submitted")
    return rclone_s3


@pytest.mark.soak
def test_a_run_survives_the_loss_of_each_node(standing, checkout, bucket):
    run = submit(checkout, standing, write_job(checkout, bucket, RECORDS, "nodes"))
    killed = 0
    for node in list(standing.cluster.worker_nodes):
        wait_for_parts(run, bucket, "nodes", 5)
        assert run.poll() is None, run.communicate()  # else nothing is shown
        standing.cluster.remove_node(node, allow_graceful=False)
        killed += 1
        time.sleep(3)
        standing.cluster.add_node(**a_node())
    out, err = run.communicate(timeout=300)
    assert run.returncode == 0, f"{out}\n{err}"
    ended = document(out)
    assert killed == NODES
    assert ended["counts"]["read"] == RECORDS
    assert ended["counts"]["answered"] + ended["counts"]["failed"] == RECORDS
    ids = stored_ids(bucket, "nodes")
    assert (len(ids), len(set(ids))) == (RECORDS, RECORDS)
    assert len({r["node_id"] for r in ended["replicas"]}) > 1
    assert {r["devices"] for r in ended["replicas"]} == {"0"}


@pytest.mark.soak
def test_the_submission_ends_with_the_exit_code_of_the_job(standing, checkout, bucket):
    file = write_job(checkout, bucket, 250, "wrong")
    file.write_text(file.read_text().replace("extractive", "extractiv"))
    run = submit(checkout, standing, file)
    out, err = run.communicate(timeout=120)
    assert run.returncode == 2, f"{out}\n{err}"
    assert "engine.kind" in out


@pytest.mark.soak
def test_a_sigterm_reaches_the_job_which_the_next_submission_resumes_under_its_id(
    standing, checkout, bucket
):
    file = write_job(checkout, bucket, FEW, "stopped")
    run = submit(checkout, standing, file, "--run-id", "run-7")
    wait_for_parts(run, bucket, "stopped", 1)
    run.send_signal(signal.SIGTERM)
    out, err = run.communicate(timeout=120)
    assert run.returncode == 130, f"{out}\n{err}"
    (recorded,) = all_runs(Storage(bucket.storage()).at("s3://submitted/stopped"))
    before = len(stored_ids(bucket, "stopped"))
    assert recorded["status"] == "interrupted", f"{out}\n{err}"
    assert 0 < recorded["counts"]["answered"] <= before  # the last parts may not be counted
    run = submit(checkout, standing, file, "--run-id", "run-7")
    out, err = run.communicate(timeout=240)
    assert run.returncode == 0, f"{out}\n{err}"
    ended = document(out)
    assert ended["run_id"] == "run-7"
    assert [start["status"] for start in ended["resumed"]] == ["interrupted"]
    assert ended["counts"]["current"] == before
    assert len(stored_ids(bucket, "stopped")) == FEW
