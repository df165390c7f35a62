"""Replicas and their GPUs, on a cluster whose nodes say that they have some."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

import fsspec
import pytest

from pipeline.errors import EngineError
from pipeline.replicas import BARREN_DEATHS, Replica, Roll
from tests.clusters import nodes
from tests.conftest import S3_KEY, S3_SECRET
from tests.support import (
    ROOT,
    job,
    job_file,
    overnight,
    processes_titled,
    rows,
    run,
    stored,
    vllm_job,
    write_jsonl,
)


@dataclass(frozen=True)
class Gpus:
    """A cluster's address, and the id of its node with the scarce kind."""

    address: str
    scarce: str


@pytest.fixture(scope="module")
def gpus(environment) -> Iterator[Gpus]:
    """A cluster: a head without GPUs, a node with two, one with a scarce kind."""
    two = {"num_cpus": 2, "num_gpus": 2}
    scarce = {"num_cpus": 2, "num_gpus": 1, "resources": {"accelerator_type:SCARCE": 1}}
    with nodes({"num_cpus": 2, "num_gpus": 0}, two, scarce) as cluster:
        *_, last = cluster.worker_nodes
        yield Gpus(cluster.address, last.node_id)


def replay(tmp_path: Path, **engine) -> Path:
    """A job file for records whose engine needs no model but asks for GPUs all the same."""
    write_jsonl(tmp_path / "shards/a.jsonl", rows(range(60)))
    engine = {"kind": "recorded", **engine}
    night = job(tmp_path / "shards", tmp_path / "store", 5, engine=engine)
    return job_file(tmp_path / "job.yaml", night)


def replicas_of(file: Path, address: str) -> list[dict]:
    done = overnight("run", file, "--json", address=address, timeout=240)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["replicas"]


def test_two_vllm_replicas_have_a_gpu_each_and_share_none(gpus, rclone_s3, tiny_model, tmp_path):
    """Their model comes from an object store, to one folder of the node."""
    store = fsspec.filesystem(
        "s3",
        key=S3_KEY,
        secret=S3_SECRET,
        endpoint_url=rclone_s3.endpoint,
        config_kwargs={"response_checksum_validation": "when_required"},
    )
    store.mkdir("models-for-replicas")
    store.put(str(tiny_model) + "/", "models-for-replicas/tiny/", recursive=True)
    write_jsonl(tmp_path / "shards/a.jsonl", rows(range(240)))
    night = vllm_job(
        "s3://models-for-replicas/tiny",
        tmp_path / "shards",
        tmp_path / "store",
        rows_per_file=5,
        engine={"replicas": 2, "gpus_per_replica": 1},
        sampling={"max_tokens": 40},
        attempts=1,
        storage=rclone_s3.storage(),
    )
    file = job_file(tmp_path / "job.yaml", night)
    done = overnight("run", file, "--json", address=gpus.address, timeout=300)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["counts"]["answered"] + document["counts"]["failed"] == 240
    assert stored(tmp_path / "store").num_rows == 240
    assert [r["state"] for r in document["replicas"]] == ["answering", "answering"]
    own = {(r["node_id"], r["devices"]) for r in document["replicas"]}
    assert len(own) == 2
    assert {devices for _, devices in own} <= {"0", "1"}


def test_three_replicas_have_the_three_gpus(gpus, tmp_path):
    found = replicas_of(replay(tmp_path, replicas=3, gpus_per_replica=1), gpus.address)
    own = [(r["node_id"], r["devices"]) for r in found]
    assert sorted(devices for _, devices in own) == ["0", "0", "1"]
    assert len(set(own)) == 3


def test_a_replica_of_two_gpus_has_both_on_one_node(gpus, tmp_path):
    (found,) = replicas_of(replay(tmp_path, gpus_per_replica=2), gpus.address)
    assert sorted(found["devices"].split(",")) == ["0", "1"]


def test_a_replica_goes_where_the_kind_of_gpu_is_that_it_asks_for(gpus, tmp_path):
    """Without asking, it would be one of the two GPUs of the other node as well."""
    for n in range(2):
        asked = replay(tmp_path / str(n), gpus_per_replica=1, accelerator_type="SCARCE")
        (found,) = replicas_of(asked, gpus.address)
        assert found["node_id"] == gpus.scarce


def nodes_of(found: list[dict]) -> list[str]:
    return [replica["node_id"] for replica in found]


def test_packed_replicas_stand_on_one_node_and_spread_ones_on_two(gpus, tmp_path):
    """Two of one GPU each, where one node has two and another one."""
    two = {"replicas": 2, "gpus_per_replica": 1}
    packed = replicas_of(replay(tmp_path / "packed", placement="packed", **two), gpus.address)
    assert len(set(nodes_of(packed))) == 1
    assert {replica["devices"] for replica in packed} == {"0", "1"}
    spread = replicas_of(replay(tmp_path / "spread", **two), gpus.address)
    assert len(set(nodes_of(spread))) == 2


def test_packed_replicas_are_of_a_fixed_number(tmp_path):
    file = replay(tmp_path, placement="packed", replicas={"min": 1, "max": 2})
    refused = overnight("run", file)
    assert refused.returncode == 2
    assert "engine.placement: packed" in refused.stderr


def test_a_pool_takes_what_there_is_between_its_bounds(gpus, tmp_path):
    """Nine may be wanted; it starts with one and never has more than the three that have a GPU."""
    write_jsonl(tmp_path / "many/a.jsonl", rows(range(1500)))
    engine = {"kind": "extractive", "replicas": {"min": 1, "max": 9}, "gpus_per_replica": 1}
    night = job(tmp_path / "many", tmp_path / "store", 20, engine=engine)
    found = replicas_of(job_file(tmp_path / "job.yaml", night), gpus.address)
    assert 1 < len(found) <= 3
    assert stored(tmp_path / "store").num_rows == 1500
    assert all(replica["seconds"] > 0 for replica in found)


def test_two_jobs_at_once_share_the_cluster_and_both_get_on(gpus, tmp_path):
    """Each has parts in the store before the other has its last."""
    runs, stores = [], []
    for name in ("one", "other"):
        write_jsonl(tmp_path / name / "shards/a.jsonl", rows(range(900)))
        stores.append(tmp_path / name / "store")
        engine = {"kind": "extractive", "replicas": {"min": 1, "max": 3}, "gpus_per_replica": 1}
        night = job(tmp_path / name / "shards", stores[-1], 20, engine=engine)
        file = job_file(tmp_path / name / "job.yaml", night)
        runs.append(
            subprocess.Popen(
                [sys.executable, "-m", "jobs", "run", str(file)],
                cwd=ROOT,
                env={**os.environ, "RAY_ADDRESS": gpus.address},
                stderr=subprocess.PIPE,
            )
        )
    said = [run.communicate(timeout=240)[1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], said
    times = [sorted(stored(store)["written_at"].to_pylist()) for store in stores]
    assert [len(written) for written in times] == [900, 900]
    assert max(written[0] for written in times) < min(written[-1] for written in times)


SEEN = "from pipeline.stages import settle; settle({}); import os; print(os.environ[{!r}])"


@pytest.mark.parametrize(("on_gpus", "seen"), [(False, ""), (True, "0,1")])
def test_only_a_replica_with_gpus_sees_any(on_gpus, seen):
    name = "CUDA_VISIBLE_DEVICES"
    said = subprocess.run(
        [sys.executable, "-c", SEEN.format(on_gpus, name)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, name: "0,1"},
    )
    assert said.stdout.strip() == seen


@pytest.mark.parametrize(
    ("engine", "said"),
    [
        (
            {"replicas": 2, "gpus_per_replica": 2},
            "1 of 2 have a place in the cluster (GPUs for each, on one node: 2)",
        ),
        (
            {"replicas": 2, "gpus_per_replica": 1, "accelerator_type": "SCARCE"},
            "1 of 2 have a place in the cluster (GPUs of kind SCARCE for each, on one node: 1)",
        ),
    ],
)
def test_replicas_that_will_never_find_a_place_are_told_at_once(gpus, tmp_path, engine, said):
    done = overnight("run", replay(tmp_path, **engine), address=gpus.address)
    assert done.returncode == 3
    assert said in done.stderr


OCCUPANT = """
import ray, sys, time
ray.init(address=sys.argv[1], log_to_driver=False)
@ray.remote(num_gpus=2)
class Occupant:
    def here(self): return True
one = Occupant.remote()
print(ray.get(one.here.remote()), flush=True)
time.sleep(120)
"""


def test_replicas_whose_gpus_are_taken_are_told_when_their_time_is_over(gpus, tmp_path):
    occupant = subprocess.Popen(
        [sys.executable, "-c", OCCUPANT, gpus.address], stdout=subprocess.PIPE, text=True
    )
    try:
        assert occupant.stdout is not None
        assert occupant.stdout.readline().strip() == "True"
        file = replay(tmp_path, replicas=2, gpus_per_replica=1, start_seconds=6)
        done = overnight("run", file, address=gpus.address)
    finally:
        occupant.kill()
        occupant.wait(10)
    assert done.returncode == 3
    assert "after 6 s 1 of 2 replicas had a place in the cluster (GPUs for each: 1)" in done.stderr
    assert done.stderr.strip().count("\n") <= 1


# The roll itself.


def replica(pid: int, state) -> Replica:
    return Replica("10.0.0.1", "node", pid, "0", state, "")


def test_deaths_are_counted_until_a_table_is_answered():
    roll = Roll(replicas=2)
    assert [roll.enter(replica(n, "placed")) for n in range(2)] == [0, 0]
    assert [roll.enter(replica(n, "placed")) for n in range(2, 5)] == [1, 2, 3]
    assert roll.enter(replica(4, "loading")) == 3
    assert roll.enter(replica(4, "answering")) == 0
    assert roll.enter(replica(5, "placed")) == 1


def test_replicas_that_only_ever_die_end_the_run(tmp_path, ray_cluster):
    """Ray by itself would start them again until morning."""
    write_jsonl(tmp_path / "shards/a.jsonl", rows(range(3000)))
    night = job(tmp_path / "shards", tmp_path / "store", 3000)
    answerer = "ray::MapWorker(MapBatches(Answerer)).submit"
    often = f"died {BARREN_DEATHS} times without answering"
    with (
        each_killed_at_work(answerer, BARREN_DEATHS) as killed,
        pytest.raises(EngineError, match=often),
    ):
        run(night)
    assert len(killed) == BARREN_DEATHS


@contextmanager
def each_killed_at_work(title: str, times: int) -> Iterator[set[int]]:
    """Kills every process of that title as it appears, so many times."""
    killed: set[int] = set()
    over = Event()

    def look_and_kill() -> None:
        while not over.is_set() and len(killed) < times:
            for process in processes_titled(title):
                if process.pid not in killed:
                    killed.add(process.pid)
                    process.kill()
            time.sleep(0.02)

    watcher = Thread(target=look_and_kill, daemon=True)
    watcher.start()
    try:
        yield killed
    finally:
        over.set()
        watcher.join(10)
