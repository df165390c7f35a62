"""Kills in the middle of a run: the store is completed, and little is generated again.

`OVERNIGHT_KILLS` is the number of random moments at which each victim is killed on each server. By
default each is killed once, on one of them. `OVERNIGHT_REQUEST_SECONDS` is how long a request takes
in the test of what a crash costs; all its other times follow.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator

import fsspec
import pyarrow.parquet as pq
import pytest
from ray.cluster_utils import Cluster

from pipeline.core.filesystem import Location, Storage
from pipeline.store.parts import list_parts
from pipeline.store.runs import all_runs
from tests.conftest import S3_KEY, S3_SECRET
from tests.support.clusters import KEEPS_WORKERS, QUICK_HEALTH_CHECKS, nodes
from tests.support.jobs import (
    ROOT,
    S3,
    counts,
    job,
    job_file,
    overnight,
    processes_titled,
    rows,
    stored,
    write_jsonl,
)
from tests.support.jobs import (
    run as run_in_process,
)
from tests.support.scripted import steady

KILLS = int(os.environ.get("OVERNIGHT_KILLS", "1"))
RECORDS, ROWS_PER_FILE, REPLICAS = 600, 20, 2

MOST_TRIES = 5
"""Of a moment in the middle of a run."""

IN_FLIGHT = 8 * ROWS_PER_FILE * REPLICAS
"""Rows that may be generated and not yet stored: a few batches for each replica."""


@pytest.fixture(scope="module")
def own_cluster(environment) -> Iterator[Cluster]:
    """Three nodes for these tests only; the head holds no records."""
    node, system = {"num_cpus": 3}, KEEPS_WORKERS | QUICK_HEALTH_CHECKS
    with nodes({"num_cpus": 0}, node, node, system=system) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    for at in range(0, RECORDS, 100):
        write_jsonl(folder / f"{at:04}.jsonl", rows(range(at, at + 100)))
    return folder


@pytest.fixture
def server(request) -> S3:
    chosen: S3 = request.getfixturevalue(request.param)
    fs = fsspec.filesystem(
        "s3", key=S3_KEY, secret=S3_SECRET, endpoint_url=chosen.endpoint, skip_instance_cache=True
    )
    if not fs.exists("kills"):
        fs.mkdir("kills")
    return chosen


def start(file, address: str, *options: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "jobs", "run", str(file), "--json", *options],
        cwd=ROOT,
        env={**os.environ, "RAY_ADDRESS": address},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def kill_driver(run: subprocess.Popen, cluster: Cluster) -> bool:
    """Its run file will say `running` for ever."""
    run.kill()
    return True


WORKER = "ray::MapWorker(MapBatches(BatchWorker)"


def kill_actor(run: subprocess.Popen, cluster: Cluster) -> bool:
    actors = list(processes_titled(WORKER))
    if not actors:  # everything is answered, and waits for the store
        return False
    victim = random.choice(actors)
    victim.send_signal(signal.SIGKILL)
    victim.wait(10)
    return True


def kill_raylet(run: subprocess.Popen, cluster: Cluster) -> bool:
    node = random.choice(list(cluster.worker_nodes))
    cluster.remove_node(node, allow_graceful=False)
    cluster.add_node(num_cpus=3, object_store_memory=256 * 2**20)
    return True


def has_begun(kill: "Victim", answers: Location) -> bool:
    """Whether something is stored or, if an actor is to be killed, one is at work."""
    if kill is kill_actor:
        return any(processes_titled(f"{WORKER}).submit"))
    return bool(list_parts(answers))


Victim = Callable[[subprocess.Popen, Cluster], bool]
"""Kills, and returns whether there was something to kill."""

ONCE: list[tuple[str, Victim]] = [
    ("moto_s3", kill_driver),
    ("rclone_s3", kill_actor),
]
"""Nodes are killed in tests/deploy/test_submit.py."""

VICTIMS = (kill_driver, kill_actor, kill_raylet)
EVERYWHERE = [(s3, kill) for s3 in ("moto_s3", "rclone_s3") for kill in VICTIMS]


@pytest.mark.timeout(120 + 90 * KILLS)
@pytest.mark.parametrize(("server", "kill"), EVERYWHERE if KILLS > 1 else ONCE, indirect=["server"])
def test_after_a_kill_the_next_run_has_every_record_once(
    kill: Victim, server, shards, own_cluster, tmp_path
):
    moment, tries = 0, 1
    while moment < KILLS:
        uri = f"s3://kills/{kill.__name__}-{moment}-{time.time_ns()}"
        task = job(
            shards,
            uri,
            ROWS_PER_FILE,
            engine={"kind": "extractive", "replicas": REPLICAS},
            storage=server.storage(),
        )
        file = job_file(tmp_path / "job.yaml", task)
        run = start(file, own_cluster.address)
        store = Storage(server.storage()).at(uri)
        while not has_begun(kill, store.join("answers")) and run.poll() is None:
            time.sleep(0.2)
        time.sleep(random.uniform(0, 1.5) / tries)
        hit = run.poll() is None and kill(run, own_cluster)
        run.communicate(timeout=120)
        if not hit:  # too late: try an earlier moment
            tries += 1
            assert tries <= MOST_TRIES
            continue
        if kill is kill_driver:
            (recorded,) = all_runs(store)
            assert recorded["status"] == "running"
        stored_before = Counter(_record_ids(store))
        done = counts(run_in_process(task))
        assert done["read"] == RECORDS
        assert done.get("current", 0) == len(stored_before)
        every = Counter(_record_ids(store))
        assert len(every) == RECORDS
        again = every.total() - RECORDS
        assert again <= IN_FLIGHT
        print(
            f"{kill.__name__} {moment}: exit {run.returncode}, {len(stored_before)} stored, "
            f"{done.get('answered', 0)} in the next run, {again} done twice"
        )
        moment += 1


REQUEST_SECONDS = float(os.environ.get("OVERNIGHT_REQUEST_SECONDS", "6"))
LAG_SECONDS = 3.0
"""How late a busy machine may hear of an answer."""

CONCURRENT = 200
KILLED_AFTER = 2.5
"""Times as long as a request."""


def kill_node_of_actor(run: subprocess.Popen, cluster: Cluster) -> bool:
    (actor,) = processes_titled(WORKER)
    (node,) = (n for n in cluster.worker_nodes if raylet_of(n) == actor.ppid())
    cluster.remove_node(node, allow_graceful=False)
    cluster.add_node(num_cpus=3, object_store_memory=256 * 2**20)
    return True


def raylet_of(node) -> int:
    (raylet,) = node.all_processes["raylet"]
    return int(raylet.process.pid)


ALL_COSTS = [kill_actor, kill_driver, kill_node_of_actor]


@pytest.mark.soak
@pytest.mark.timeout(120 + 12 * REQUEST_SECONDS)
@pytest.mark.parametrize("kill", ALL_COSTS if KILLS > 1 else ALL_COSTS[:1])
def test_a_crash_costs_the_answers_of_the_last_flush_seconds(kill, own_cluster, tmp_path):
    """All records are in one batch; requests take turns in the engine."""
    records = 4 * CONCURRENT
    shards = write_jsonl(tmp_path / "shards/a.jsonl", rows(range(records))).parent
    with steady(REQUEST_SECONDS) as endpoint:
        options = {"base_url": f"{endpoint.url}/v1", "concurrency": CONCURRENT}
        task = job(
            shards,
            tmp_path / "store",
            records,
            engine={"kind": "openai", "model": "steady", "options": options},
            attempts=1,
        )
        output = task.output.model_copy(update={"flush_seconds": REQUEST_SECONDS})
        file = job_file(tmp_path / "job.yaml", task.model_copy(update={"output": output}))
        run = start(file, own_cluster.address)
        while not endpoint.times and run.poll() is None:
            time.sleep(0.05)
        first = endpoint.times[0][1] - REQUEST_SECONDS / 2
        time.sleep(max(0.0, first + KILLED_AFTER * REQUEST_SECONDS - time.time()))
        assert kill(run, own_cluster)
        killed = time.time()
        out, _ = run.communicate(timeout=12 * REQUEST_SECONDS + 60)
        if kill is kill_driver:
            out = overnight("run", file, "--json", address=own_cluster.address, timeout=600).stdout
        answered = endpoint.times
    before = {pond: at for pond, at in answered if at < killed}
    again = [before[pond] for pond, at in answered if at > killed and pond in before]
    done = counts(json.loads(out))
    ids = list(_record_ids(Storage().at(str(tmp_path / "store"))))
    oldest = killed - min(again, default=killed)
    print(
        f"{kill.__name__}: {len(before)} answered before, {len(again)} of them again, the oldest "
        f"{oldest:.1f} s old; a request takes {REQUEST_SECONDS:g} s"
    )
    assert done["read"] == done.get("current", 0) + done["answered"] == records
    assert sorted(ids) == sorted(row["record_id"] for row in rows(range(records)))
    assert len(before) > CONCURRENT
    assert oldest <= REQUEST_SECONDS + LAG_SECONDS


PROMPTS, TWIN = 150, "-twin"


@pytest.mark.timeout(300)
def test_300_records_of_150_prompts_cost_150_generations_and_those_in_flight(own_cluster, tmp_path):
    """Of what the killed run has stored, the next one generates nothing again."""
    single = rows(range(PROMPTS))
    twins = [{**row, "record_id": row["record_id"] + TWIN} for row in single]
    ponds = {row["record_id"]: pond for pond, row in enumerate(single)}
    shards = write_jsonl(tmp_path / "shards/a.jsonl", [*single, *twins]).parent
    store = Storage().at(str(tmp_path / "store"))
    with steady(0.5) as endpoint:
        options = {"base_url": f"{endpoint.url}/v1", "concurrency": 10}
        engine = {"kind": "openai", "model": "steady", "options": options}
        task = job(shards, store.path, 30, engine=engine)
        file = job_file(tmp_path / "job.yaml", task)
        run = start(file, own_cluster.address)
        while len(list_parts(store.join("answers"))) < 3 and run.poll() is None:
            time.sleep(0.1)
        assert kill_driver(run, own_cluster)
        run.communicate(timeout=60)
        done = run_in_process(task)
        generations = Counter(pond for pond, _ in endpoint.times)
    answers = stored(tmp_path / "store").select(["record_id", "run_id"]).to_pylist()
    by_run = Counter((ponds[a["record_id"].removesuffix(TWIN)], a["run_id"]) for a in answers)
    kept = {pond for pond, run_id in by_run if run_id != done["run_id"]}
    again = generations.total() - PROMPTS
    print(f"{generations.total()} generations, {len(kept)} kept, {again} in flight at the kill")
    assert generations.keys() == set(ponds.values())
    assert (len(by_run), {*by_run.values()}) == (PROMPTS, {2})
    assert {generations[pond] for pond in kept} == {1}
    assert counts(done) == {
        "read": 2 * PROMPTS,
        "current": 2 * len(kept),
        "answered": 2 * (PROMPTS - len(kept)),
    }
    assert done["sums"]["shared_generations"] == PROMPTS - len(kept)


BUDGET, ANSWER = 80, 0.011
"""Answers that a budget pays for, and the price of one: 110 tokens."""


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_a_budget_lasts_through_a_kill_and_a_higher_one_has_every_record_once(
    own_cluster, tmp_path
):
    records, rows_per_batch = 150, 10
    shards = write_jsonl(tmp_path / "shards/a.jsonl", rows(range(records))).parent
    store = Storage().at(str(tmp_path / "store"))
    with steady(0.4) as endpoint:
        options = {"base_url": f"{endpoint.url}/v1", "concurrency": 4}
        task = job(
            shards,
            store.path,
            rows_per_batch,
            engine={"kind": "openai", "model": "steady", "options": options, "replicas": REPLICAS},
            report={"price": dict.fromkeys(("prompt", "completion"), ANSWER * 1e6 / 110)},
            budget=BUDGET * ANSWER,
            sampling={"max_tokens": 20},
        )
        file = job_file(tmp_path / "job.yaml", task)
        run = start(file, own_cluster.address, "--run-id", "night")
        while len(list_parts(store.join("answers"))) < 1 and run.poll() is None:
            time.sleep(0.1)
        kill_driver(run, own_cluster)
        run.communicate(timeout=60)
        command = ("run", file, "--run-id", "night", "--json")
        again = overnight(*command, address=own_cluster.address, timeout=240)
        paid = len(endpoint.times) * ANSWER
        more = f"budget={10 * records * ANSWER}"
        last = overnight(*command, more, address=own_cluster.address, timeout=240)
    assert (again.returncode, last.returncode) == (0, 0), again.stderr + last.stderr
    stopped, done = json.loads(again.stdout), json.loads(last.stdout)
    print(f"{paid / ANSWER:.0f} answers paid of {BUDGET}, {stopped['cost']}")
    counted = stopped["cost"]["total"] / ANSWER  # what was allowed at the kill counts as spent
    assert (stopped["status"], stopped["stopped_by"]) == ("stopped", "budget")
    assert 0 < paid / ANSWER <= counted
    assert BUDGET - rows_per_batch <= counted <= BUDGET + rows_per_batch
    assert "stopped at its budget in " in again.stderr
    assert done["status"] == "done"
    assert sorted(_record_ids(store)) == sorted(row["record_id"] for row in rows(range(records)))


def _record_ids(store) -> Iterator[str]:
    for path in list_parts(store.join("answers")):
        with store.fs.open(path, "rb") as file:
            yield from pq.read_table(file, columns=["record_id"])["record_id"].to_pylist()
