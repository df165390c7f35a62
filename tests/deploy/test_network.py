"""A worker host that is cut off in the middle of a run: three hosts, as network namespaces.

The driver, an S3 server and Ray's head are on one host; the parts of the others travel to it.
"""

import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pipeline.store import read_answers
from tests.conftest import S3_KEY, S3_SECRET
from tests.deploy.namespaces import Host, lacking, network
from tests.support.clusters import KEEPS_WORKERS
from tests.support.jobs import counts, job, job_file, rows, stored, write_jsonl

ROWS_PER_FILE, REPLICAS = 20, 2
BEFORE = 15 * ROWS_PER_FILE
"""So much is stored when the link goes down."""

IN_FLIGHT = 8 * ROWS_PER_FILE * REPLICAS
"""Rows that may be generated and not yet stored: a few tables for each replica, on their way."""

SOON_MISSED = {
    "health_check_period_ms": 1000,
    "health_check_timeout_ms": 5000,
    "health_check_failure_threshold": 4,
}
"""A host that says nothing is given up after 24 seconds.

A host that fell over refuses connections, and Ray knows in seconds. One that is cut off is silent:
left to itself Ray waits for ten seconds, five times, with three between. A task that was sent there
may be waited for even then, until its connection breaks; at the latest as the link is back.
"""

GCS_PORT, S3_PORT = 6379, 9000
BESIDE = Path(sys.executable).parent

LIVING = """
import json, ray
ray.init(log_to_driver=False, logging_level="ERROR")
print(json.dumps([node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]]))
"""


@dataclass
class Hosts:
    """A head and its workers, each with a Ray of its own; the head has the store, too."""

    folder: Path
    head: Host
    workers: list[Host]
    rays: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return f"{self.head.address}:{GCS_PORT}"

    @property
    def endpoint(self) -> str:
        return f"{self.head.address}:{S3_PORT}"

    @property
    def bucket(self) -> Path:
        return self.folder / "s3/nights"

    def serve_s3(self) -> None:
        self.bucket.mkdir(parents=True)
        self.head.popen(
            *(BESIDE / "rclone", "serve", "s3", "--addr", self.endpoint),
            *("--auth-key", f"{S3_KEY},{S3_SECRET}", self.bucket.parent),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def start_ray(self, host: Host, *more: str) -> None:
        with (self.folder / f"{host.name}.log").open("ab") as log:
            self.rays[host.name] = host.popen(
                *(BESIDE / "ray", "start", "--block", "--num-cpus=2", "--disable-usage-stats"),
                *(f"--node-ip-address={host.address}", f"--temp-dir={self.folder / host.name}"),
                *(f"--object-store-memory={128 * 2**20}", *more),
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def keep_workers(self) -> None:
        """As a supervisor does: where Ray is not, or has ended, it is started.

        A raylet that was given up ends as soon as it hears of that. It never comes back by itself.
        """
        for host in self.workers:
            if host.name not in self.rays or self.rays[host.name].poll() is not None:
                self.start_ray(host, f"--address={self.address}")

    def living(self) -> list[str]:
        """The addresses of the hosts that Ray counts as living."""
        asked = self.python("-c", LIVING, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        try:
            said: bytes = asked.communicate(timeout=30)[0]
        except subprocess.TimeoutExpired:  # it came before Ray was ready for it
            asked.kill()
            said = asked.communicate()[0]
        return list(json.loads(said.splitlines()[0])) if said else []

    def python(self, *arguments: object, **how: Any) -> "subprocess.Popen[bytes]":
        """A driver, on the head's host."""
        environment = {**os.environ, "RAY_ADDRESS": self.address}
        return self.head.popen(sys.executable, *arguments, env=environment, **how)

    def until(self, seen: Callable[[], bool], what: str, seconds: float = 150) -> None:
        """Waits, and keeps the workers' Ray up meanwhile."""
        end = time.monotonic() + seconds
        while not seen():
            if time.monotonic() > end:
                logs = (log.read_text(errors="replace") for log in self.folder.glob("*.log"))
                raise TimeoutError(f"{what}: not in {seconds} s\n" + "\n".join(logs))
            self.keep_workers()
            time.sleep(0.1)


@dataclass(frozen=True)
class Night:
    """A run in whose midst a host with an engine was cut off for a while."""

    exit_code: int
    document: dict[str, Any]
    told: str
    store: Path
    asked: list[str]
    stored_before: int
    stored_meanwhile: int

    @property
    def counting(self) -> list[str]:
        """The records whose answers count by the reader rule, as often as they do."""
        rows = read_answers(str(self.store)).to_table(columns=["record_id"])
        return sorted(rows["record_id"].to_pylist())

    @property
    def made_again(self) -> int:
        """Rows that newer ones have superseded."""
        return stored(self.store).num_rows - len(self.counting)


@pytest.fixture(scope="module")
def hosts(environment: None) -> Iterator[Hosts]:
    if reason := lacking():
        pytest.skip(f"no network namespaces here: {reason}")
    with (
        pytest.MonkeyPatch.context() as patched,
        # pytest's own folders are too deep for Ray's sockets.
        tempfile.TemporaryDirectory(prefix="net-") as folder,
        network("head", "w1", "w2") as (head, *workers),
    ):
        # Without these Ray would write a token of its own into the user's home.
        patched.setenv("RAY_AUTH_MODE", "token")
        patched.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        made = Hosts(Path(folder), head, workers)
        made.serve_s3()
        made.start_ray(
            head,
            *("--head", f"--port={GCS_PORT}", "--include-dashboard=false"),
            f"--system-config={json.dumps(KEEPS_WORKERS | SOON_MISSED)}",
        )
        made.until(lambda: len(made.living()) == 3, "three hosts")
        yield made


@pytest.fixture(scope="module")
def cut(hosts: Hosts, tmp_path_factory: pytest.TempPathFactory) -> Night:
    return night(hosts, tmp_path_factory.mktemp("cut"), records=4_000, seconds=60)


def test_a_run_completes_though_a_host_is_cut_off_for_a_minute(cut: Night):
    assert cut.exit_code == 0, cut.told
    assert counts(cut.document) == accounts_of(cut.asked)
    assert cut.counting == cut.asked
    assert cut.made_again <= IN_FLIGHT


def test_a_run_goes_on_without_a_host_that_was_given_up(cut: Night):
    assert cut.stored_before + IN_FLIGHT < len(cut.asked)
    assert cut.stored_meanwhile > IN_FLIGHT
    assert len(cut.document["replicas"]) > REPLICAS  # the lost one was made again elsewhere


def test_a_host_that_was_given_up_is_one_of_the_cluster_again_after_the_cut(
    hosts: Hosts, cut: Night
):
    hosts.until(lambda: len(hosts.living()) == 3, "three hosts")
    assert set(hosts.living()) == {host.address for host in (hosts.head, *hosts.workers)}


def night(hosts: Hosts, folder: Path, records: int, seconds: int) -> Night:
    """A run, and in the middle of it a cut of so many seconds."""
    given = rows(range(records))
    for at in range(0, records, 100):
        write_jsonl(folder / f"shards/{at:05}.jsonl", given[at : at + 100])
    store = hosts.bucket / folder.name
    asked = job(
        folder / "shards",
        f"s3://{hosts.bucket.name}/{store.name}",
        ROWS_PER_FILE,
        engine={"kind": "extractive", "replicas": REPLICAS},
        storage={"endpoint_url": f"http://{hosts.endpoint}"},
    )
    file, said, told = (folder / name for name in ("job.yaml", "said", "told"))
    with said.open("wb") as out, told.open("wb") as err:
        command = ("-m", "jobs", "run", job_file(file, asked), "--json")
        run = hosts.python(*command, stdout=out, stderr=err)

    hosts.until(lambda: rows_in(store) >= BEFORE or run.poll() is not None, "rows in the store")
    assert run.poll() is None, told.read_text()  # it is cut in the middle, or nothing is shown
    host = next(worker for worker in hosts.workers if has_engine(worker))
    before, end = rows_in(store), time.monotonic() + seconds
    host.cut()
    while time.monotonic() < end:
        hosts.keep_workers()
        time.sleep(0.1)
    after, mended = rows_in(store), time.monotonic()
    host.mend()
    hosts.until(lambda: run.poll() is not None, "the end of the run")
    ended = time.monotonic()
    made = Night(
        run.returncode,
        json.loads(said.read_text() or "{}"),
        told.read_text(),
        store,
        sorted(str(row["record_id"]) for row in given),
        stored_before=before,
        stored_meanwhile=after - before,
    )
    print(
        f"cut off for {seconds} s: {before} rows stored before, {made.stored_meanwhile} meanwhile, "
        f"exit {run.returncode} {ended - mended:.0f} s after, "
        f"{made.made_again} superseded"
    )
    return made


def accounts_of(records: list[str]) -> dict[str, int]:
    """What a run counts that has answered all of them: the states sum up to what was read."""
    return {"read": len(records), "answered": len(records)}


def rows_in(store: Path) -> int:
    return ROWS_PER_FILE * sum(1 for _ in (store / "answers").glob("part-*"))


def has_engine(host: Host) -> bool:
    titles = host.titles().values()
    return any(title.startswith("ray::MapWorker(MapBatches(Answerer)") for title in titles)
