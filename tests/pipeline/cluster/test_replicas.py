"""Replicas and their GPUs, on a cluster whose nodes say that they have some."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest
import ray

from pipeline.cluster.ray_data import BARREN_DEATHS
from pipeline.config.schema import Job
from pipeline.core.errors import ConfigError, EngineError
from tests.support.jobs import (
    ROOT,
    job,
    job_file,
    processes_titled,
    rows,
    run_on_cluster,
    stored,
    write_jsonl,
)

pytestmark = pytest.mark.usefixtures("ray_cluster")


def replay(tmp_path: Path, **engine) -> Job:
    """Records whose engine needs no model but asks for GPUs all the same."""
    write_jsonl(tmp_path / "shards/a.jsonl", rows(range(60)))
    return job(tmp_path / "shards", tmp_path / "store", 5, engine={"kind": "recorded", **engine})


def places(found: list[dict]) -> set[tuple[str, str]]:
    """The node of each replica and what it sees of its GPUs, by the run's own document."""
    return {(replica["node_id"], replica["devices"]) for replica in found}


def test_three_replicas_have_the_three_gpus(tmp_path):
    """They are spread over two nodes, then: one of two GPUs, and one of one."""
    found = run_on_cluster(replay(tmp_path, replicas=3, gpus_per_replica=1))["replicas"]
    assert len(places(found)) == 3
    assert sorted(devices for _, devices in places(found)) == ["0", "0", "1"]


def test_a_replica_of_two_gpus_has_both_on_one_node(tmp_path):
    (found,) = run_on_cluster(replay(tmp_path, gpus_per_replica=2))["replicas"]
    assert sorted(found["devices"].split(",")) == ["0", "1"]


def test_a_replica_goes_where_the_kind_of_gpu_is_that_it_asks_for(tmp_path):
    """Without asking, it would be one of the two GPUs of the other node as well."""
    (scarce,) = (n["NodeID"] for n in ray.nodes() if "accelerator_type:SCARCE" in n["Resources"])
    for n in range(2):
        asked = replay(tmp_path / str(n), gpus_per_replica=1, accelerator_type="SCARCE")
        (found,) = run_on_cluster(asked)["replicas"]
        assert found["node_id"] == scarce


def test_packed_replicas_stand_on_one_node_and_spread_ones_on_two(tmp_path):
    """Two of one GPU each, where one node has two and another one."""
    two = {"replicas": 2, "gpus_per_replica": 1}
    for n in range(2):  # their places are free again with the first run
        packed = run_on_cluster(replay(tmp_path / str(n), placement="packed", **two))["replicas"]
        assert len({node for node, _ in places(packed)}) == 1
        assert {devices for _, devices in places(packed)} == {"0", "1"}
    spread = run_on_cluster(replay(tmp_path / "spread", **two))["replicas"]
    assert len({node for node, _ in places(spread)}) == 2


def test_packed_replicas_are_of_a_fixed_number(tmp_path):
    with pytest.raises(ConfigError, match="packed replicas are placed"):
        run_on_cluster(replay(tmp_path, placement="packed", replicas={"min": 1, "max": 2}))


def test_a_pool_takes_what_there_is_between_its_bounds(tmp_path):
    """Nine may be wanted; it starts with one and never has more than the three that have a GPU."""
    write_jsonl(tmp_path / "many/a.jsonl", rows(range(1500)))
    engine = {"kind": "extractive", "replicas": {"min": 1, "max": 9}, "gpus_per_replica": 1}
    night = job(tmp_path / "many", tmp_path / "store", 20, engine=engine)
    found = run_on_cluster(night)["replicas"]
    assert 1 < len(found) <= 3
    assert stored(tmp_path / "store").num_rows == 1500
    assert all(replica["seconds"] > 0 for replica in found)


def test_two_jobs_at_once_share_the_cluster_and_both_get_on(ray_cluster, tmp_path):
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
                env={**os.environ, "RAY_ADDRESS": ray_cluster.address},
                stderr=subprocess.PIPE,
            )
        )
    said = [run.communicate(timeout=240)[1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], said
    times = [sorted(stored(store)["written_at"].to_pylist()) for store in stores]
    assert [len(written) for written in times] == [900, 900]
    assert max(written[0] for written in times) < min(written[-1] for written in times)


SEEN = (
    "from pipeline.core.processes import set_up_worker; set_up_worker({}); "
    "import os; print(os.environ[{!r}])"
)


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
def test_replicas_that_will_never_find_a_place_are_told_at_once(tmp_path, engine, said):
    with pytest.raises(EngineError) as told:
        run_on_cluster(replay(tmp_path, **engine))
    assert said in str(told.value)


def test_replicas_whose_gpus_are_taken_are_told_when_their_time_is_over(tmp_path):
    occupant = ray.remote(num_gpus=2)(Occupant).remote()
    try:
        assert ray.get(occupant.is_here.remote())
        with pytest.raises(EngineError) as told:
            run_on_cluster(replay(tmp_path, replicas=2, gpus_per_replica=1, start_seconds=6))
    finally:
        ray.kill(occupant)
    said = "after 6 s 1 of 2 replicas had a place in the cluster (GPUs for each: 1)"
    assert said in str(told.value)
    assert "\n" not in str(told.value)


class Occupant:
    """Another's replica."""

    def is_here(self) -> bool:
        return True


def test_replicas_that_only_ever_die_end_the_run(tmp_path):
    """Ray by itself would start them again until morning."""
    write_jsonl(tmp_path / "shards/a.jsonl", rows(range(3000)))
    night = job(tmp_path / "shards", tmp_path / "store", 3000)
    worker = "ray::MapWorker(MapBatches(BatchWorker)).submit"
    often = f"died {BARREN_DEATHS} times without answering"
    with (
        each_killed_at_work(worker, BARREN_DEATHS) as killed,
        pytest.raises(EngineError, match=often),
    ):
        run_on_cluster(night)
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
