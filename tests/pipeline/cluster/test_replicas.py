"""Replicas and their GPUs, on a cluster whose nodes claim to have some."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import pyarrow as pa
import pytest
import ray
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from pipeline.cluster.ray_data import BARREN_DEATHS, RayData
from pipeline.config.schema import EngineConfig, Job
from pipeline.core.arrow import receipt
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
from tests.support.scripted import steady

pytestmark = pytest.mark.usefixtures("ray_cluster")


def replay(tmp_path: Path, **engine) -> Job:
    """A job whose engine needs no model and yet asks for GPUs."""
    write_jsonl(tmp_path / "shards/a.jsonl", rows(range(60)))
    return job(tmp_path / "shards", tmp_path / "store", 5, engine={"kind": "recorded", **engine})


def slow(url: str, **engine) -> dict:
    """An engine that gives a second replica the time to start, however busy the machine is."""
    options = {"base_url": f"{url}/v1", "concurrency": 40}
    return {"kind": "openai", "model": "m", "gpus_per_replica": 1, "options": options, **engine}


def places(replicas: list[dict]) -> set[tuple[str, str]]:
    """The node of each replica and its GPUs there, by the run file."""
    return {(replica["node_id"], replica["devices"]) for replica in replicas}


def test_three_replicas_take_the_three_gpus(tmp_path):
    """These are on two nodes, with two GPUs and one."""
    replicas = run_on_cluster(replay(tmp_path, replicas=3, gpus_per_replica=1))["replicas"]
    assert len(places(replicas)) == 3
    assert sorted(devices for _, devices in places(replicas)) == ["0", "0", "1"]


def test_a_replica_of_two_gpus_has_both_on_one_node(tmp_path):
    (replica,) = run_on_cluster(replay(tmp_path, gpus_per_replica=2))["replicas"]
    assert sorted(replica["devices"].split(",")) == ["0", "1"]


def test_a_replica_is_placed_where_the_kind_of_gpu_is_that_it_asks_for(tmp_path):
    """Otherwise it could get one of the two GPUs of the other node as well."""
    (scarce,) = (n["NodeID"] for n in ray.nodes() if "accelerator_type:SCARCE" in n["Resources"])
    task = replay(tmp_path, gpus_per_replica=1, accelerator_type="SCARCE")
    (replica,) = run_on_cluster(task)["replicas"]
    assert replica["node_id"] == scarce


def test_packed_replicas_share_a_node_and_spread_ones_do_not(tmp_path):
    """Two replicas with a GPU each, on a node with two GPUs and another with one."""
    two = {"replicas": 2, "gpus_per_replica": 1}
    packed = run_on_cluster(replay(tmp_path / "packed", placement="packed", **two))["replicas"]
    assert len({node for node, _ in places(packed)}) == 1
    assert {devices for _, devices in places(packed)} == {"0", "1"}
    spread = run_on_cluster(replay(tmp_path / "spread", **two))["replicas"]  # those are free again
    assert len({node for node, _ in places(spread)}) == 2


def test_the_number_of_packed_replicas_is_fixed(tmp_path):
    with pytest.raises(ConfigError, match="packed replicas are placed"):
        run_on_cluster(replay(tmp_path, placement="packed", replicas={"min": 1, "max": 2}))


def test_a_pool_grows_to_what_the_cluster_has_between_its_bounds(tmp_path):
    """At most nine are wanted; one starts, and no more than three ever find a GPU."""
    write_jsonl(tmp_path / "many/a.jsonl", rows(range(1500)))
    with steady(seconds=1) as endpoint:
        engine = slow(endpoint.url, replicas={"min": 1, "max": 9})
        replicas = run_on_cluster(job(tmp_path / "many", tmp_path / "store", 20, engine=engine))[
            "replicas"
        ]
    assert 1 < len(replicas) <= 3
    assert stored(tmp_path / "store").num_rows == 1500
    assert all(replica["seconds"] > 0 for replica in replicas)


@pytest.mark.soak
def test_two_jobs_share_the_cluster_and_both_progress(ray_cluster, tmp_path):
    """Each has parts in the store before the other has its last."""
    runs, stores = [], []
    with steady(seconds=1) as endpoint:
        for name in ("one", "other"):
            write_jsonl(tmp_path / name / "shards/a.jsonl", rows(range(500)))
            stores.append(tmp_path / name / "store")
            engine = slow(endpoint.url, replicas={"min": 1, "max": 3})
            task = job(tmp_path / name / "shards", stores[-1], 20, engine=engine)
            file = job_file(tmp_path / name / "job.yaml", task)
            runs.append(
                subprocess.Popen(
                    [sys.executable, "-m", "jobs", "run", str(file)],
                    cwd=ROOT,
                    env={**os.environ, "RAY_ADDRESS": ray_cluster.address},
                    stderr=subprocess.PIPE,
                )
            )
        messages = [run.communicate(timeout=240)[1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], messages
    times = [sorted(stored(store)["written_at"].to_pylist()) for store in stores]
    assert [len(written) for written in times] == [500, 500]
    assert max(written[0] for written in times) < min(written[-1] for written in times)


class SpanningReplica:
    """Starts a process for each GPU of the group that it runs in, as vLLM's executor on Ray does.

    vLLM's own can only be run where there are GPUs: its CPU build refuses Ray.
    """

    async def __call__(self, table: pa.Table) -> pa.Table:
        group = ray.util.get_current_placement_group()
        of_gpus = [n for n, bundle in enumerate(group.bundle_specs) if bundle.get("GPU")]
        assert all(group.bundle_specs[n]["GPU"] == 1 for n in of_gpus)  # vLLM takes no other
        workers = [
            ray.remote(num_cpus=0, num_gpus=1)(GpuOfProcess)
            .options(scheduling_strategy=PlacementGroupSchedulingStrategy(group, n))
            .remote()
            for n in of_gpus
        ]
        found = await asyncio.gather(*(worker.found.remote() for worker in workers))
        return receipt((str(ray.get_runtime_context().get_node_id()), found))


class GpuOfProcess:
    def found(self) -> tuple[str, str]:
        context = ray.get_runtime_context()
        return str(context.get_node_id()), str(context.get_accelerator_ids()["GPU"])


def spanning(gpus: int, **engine) -> EngineConfig:
    options = {"distributed_executor_backend": "ray", "pipeline_parallel_size": gpus}
    return EngineConfig(kind="vllm", model="m", options=options, **engine)


def one_table() -> list[pa.Table]:
    return [pa.table({"n": [1]})]


def where_they_are(engine: EngineConfig) -> list[tuple[str, list[tuple[str, str]]]]:
    """For each replica that a table reached: its own node, and those of its GPUs."""
    with RayData(engine) as executor:
        stream = executor.read([(one_table, 1)])
        return list(stream.through_replicas(SpanningReplica, (), engine, 1).receipts())


def test_a_replica_over_two_nodes_has_the_gpus_of_both_and_runs_beside_one():
    """Two nodes have two GPUs and one."""
    ((node, gpus),) = where_they_are(spanning(3))
    assert len(set(gpus)) == 3
    assert len({of for of, _ in gpus}) == 2
    assert node in {of for of, _ in gpus}


def test_a_replica_that_fits_on_one_node_is_on_one_though_it_might_span():
    ((node, gpus),) = where_they_are(spanning(2))  # free again after the run before
    assert len(set(gpus)) == 2
    assert {of for of, _ in gpus} == {node}


def test_the_room_for_replicas_over_nodes_is_counted_over_nodes():
    message = r"0 of 1 have a place in the cluster \(GPUs for each, on any nodes: 4\)"
    with pytest.raises(EngineError, match=message):
        where_they_are(spanning(4))
    of_kind = r"0 of 1 .* \(GPUs of kind SCARCE for each, on any nodes: 2\)"
    with pytest.raises(EngineError, match=of_kind):
        where_they_are(spanning(2, accelerator_type="SCARCE"))


def test_replicas_over_nodes_whose_gpus_are_taken_end_the_run_after_the_start_time():
    occupant = ray.remote(num_gpus=1)(Occupant).remote()
    try:
        assert ray.get(occupant.is_here.remote())
        with pytest.raises(EngineError, match=r"after 4 s 0 of 1 replicas .*GPUs for each: 3"):
            where_they_are(spanning(3, start_seconds=4))
    finally:
        ray.kill(occupant)


def test_reading_gives_way_to_engines_on_the_same_cores():
    begins = "from pipeline.core.processes import set_up_worker; import os; "
    reads, has_engine = (
        subprocess.run(
            [sys.executable, "-c", f"{begins}{set_up}; print(os.nice(0))"],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
        )
        for set_up in ("set_up_worker()", "set_up_worker(has_engine=True)")
    )
    assert int(reads.stdout) > int(has_engine.stdout) == os.nice(0)


SEEN = (
    "from pipeline.core.processes import set_up_worker; set_up_worker({}); "
    "import os; print(os.environ[{!r}])"
)


@pytest.mark.parametrize(("on_gpus", "seen"), [(False, ""), (True, "0,1")])
def test_only_a_replica_with_gpus_sees_any(on_gpus, seen):
    name = "CUDA_VISIBLE_DEVICES"
    done = subprocess.run(
        [sys.executable, "-c", SEEN.format(on_gpus, name)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, name: "0,1"},
    )
    assert done.stdout.strip() == seen


@pytest.mark.parametrize(
    ("engine", "message"),
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
def test_replicas_that_can_never_find_a_place_are_refused_at_once(tmp_path, engine, message):
    with pytest.raises(EngineError) as refused:
        run_on_cluster(replay(tmp_path, **engine))
    assert message in str(refused.value)


def test_a_run_whose_gpus_are_taken_ends_after_the_start_time(tmp_path):
    occupant = ray.remote(num_gpus=2)(Occupant).remote()
    try:
        assert ray.get(occupant.is_here.remote())
        with pytest.raises(EngineError) as failed:
            run_on_cluster(replay(tmp_path, replicas=2, gpus_per_replica=1, start_seconds=6))
    finally:
        ray.kill(occupant)
    message = "after 6 s 1 of 2 replicas had a place in the cluster (GPUs for each: 1)"
    assert message in str(failed.value)
    assert "\n" not in str(failed.value)


class Occupant:
    """A replica of another job."""

    def is_here(self) -> bool:
        return True


def test_replicas_that_always_die_end_the_run(tmp_path):
    """Ray would restart them for ever."""
    write_jsonl(tmp_path / "shards/a.jsonl", rows(range(3000)))
    task = job(tmp_path / "shards", tmp_path / "store", 3000)
    worker = "ray::MapWorker(MapBatches(BatchWorker)).submit"
    often = f"died {BARREN_DEATHS} times without answering"
    with (
        each_killed_at_work(worker, BARREN_DEATHS) as killed,
        pytest.raises(EngineError, match=often),
    ):
        run_on_cluster(task)
    assert len(killed) == BARREN_DEATHS


@contextmanager
def each_killed_at_work(title: str, times: int) -> Iterator[set[int]]:
    """Kills the first `times` processes of that title as they appear."""
    killed: set[int] = set()
    ended = Event()

    def look_and_kill() -> None:
        while not ended.is_set() and len(killed) < times:
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
        ended.set()
        watcher.join(10)
