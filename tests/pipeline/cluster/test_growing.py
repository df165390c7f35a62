"""A cluster without a GPU at the start of a job, which grows when replicas ask for them.

The test takes the place of the autoscaler, whose own fake is not in Ray's package: it tells the
cluster which nodes may be added, as an autoscaler would, and adds them when replicas wait.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray._private.state import GlobalState
from ray._raylet import GcsClient, GcsClientOptions
from ray.cluster_utils import Cluster
from ray.core.generated.autoscaler_pb2 import ClusterConfig

from tests.support.clusters import MEMORY, nodes
from tests.support.jobs import ROOT, job, job_file, overnight, rows, stored, write_jsonl

MOST_NODES = 2


@pytest.fixture(scope="module")
def growing(environment) -> Iterator[Cluster]:
    """A head, and an autoscaler's statement that it can add two nodes with one GPU each."""
    config = ClusterConfig()
    group = config.node_group_configs.add(name="gpu", min_count=0, max_count=MOST_NODES)
    group.resources.update({"CPU": 1, "GPU": 1})
    with nodes({"num_cpus": 2, "num_gpus": 0}) as cluster:
        GcsClient(address=cluster.address).report_cluster_config(config.SerializeToString())
        yield cluster


def waits_for_gpus(state: GlobalState) -> bool:
    return any(
        actor["State"] == "PENDING_CREATION" and "MapWorker" in actor["ActorClassName"]
        for actor in state.actor_table(None).values()
    )


def write_job(folder: Path, **engine: object) -> Path:
    write_jsonl(folder / "shards/a.jsonl", rows(range(60)))
    engine = {"kind": "recorded", "gpus_per_replica": 1, "start_seconds": 60, **engine}
    return job_file(folder / "job.yaml", job(folder / "shards", folder / "store", 5, engine=engine))


def test_more_replicas_than_the_cluster_can_grow_to_are_refused_at_once(growing, tmp_path):
    began = time.monotonic()
    done = overnight("run", write_job(tmp_path, replicas=MOST_NODES + 1), address=growing.address)
    assert done.returncode == 3
    assert f"{MOST_NODES} of {MOST_NODES + 1} have a place" in done.stderr
    assert time.monotonic() - began < 55  # and not after start_seconds


def test_nodes_with_gpus_are_added_when_a_job_asks_for_them(growing, tmp_path):
    state = GlobalState()
    state._initialize_global_state(GcsClientOptions.create(growing.address, None, True, True))
    run = subprocess.Popen(
        [sys.executable, "-m", "jobs", "run", str(write_job(tmp_path, replicas=2)), "--json"],
        cwd=ROOT,
        env={**os.environ, "RAY_ADDRESS": growing.address},
        stdout=subprocess.PIPE,
    )
    added = 0
    while run.poll() is None and added < MOST_NODES:
        time.sleep(1)
        if waits_for_gpus(state):
            growing.add_node(num_cpus=1, num_gpus=1, object_store_memory=MEMORY)
            added += 1
    out, _ = run.communicate(timeout=120)
    assert run.returncode == 0
    assert added == MOST_NODES
    assert stored(tmp_path / "store").num_rows == 60
    assert len({replica["node_id"] for replica in json.loads(out)["replicas"]}) == 2
