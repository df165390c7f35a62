"""A worker host that is cut off in the middle of a run, among three network namespaces.

The driver, an S3 server and Ray's head are on one host; the others send their parts there.
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
"""Rows that are stored when the link goes down."""

IN_FLIGHT = 8 * ROWS_PER_FILE * REPLICAS
"""Rows that may be generated and not yet stored: a few batches for each replica."""

HEALTH_CHECKS = {
    "health_check_period_ms": 1000,
    "health_check_timeout_ms": 5000,
    "health_check_failure_threshold": 4,
    "grpc_client_keepalive_time_ms": 5000,
    "grpc_client_keepalive_timeout_ms": 5000,
}
"""A silent host is given up after 24 seconds, and what was sent there after ten.

A host that crashed refuses connections, and Ray knows in seconds. One that is cut off is silent: by
default Ray waits for ten seconds, five times, with three in between. For a task that was sent there
it waits until the connection breaks: seven minutes by default, or when the link is back.
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
    """A head and its workers, each with its own Ray; the head has the store too."""

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
        return self.folder / "s3/stores"

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
        """Starts Ray on hosts without it, as a supervisor does.

        A raylet that was given up ends when it learns of that, and does not restart by itself.
        """
        for host in self.workers:
            if host.name not in self.rays or self.rays[host.name].poll() is not None:
                self.start_ray(host, f"--address={self.address}")

    def living(self) -> list[str]:
        """The addresses of the hosts that Ray counts as living."""
        process = self.python("-c", LIVING, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        try:
            output: bytes = process.communicate(timeout=30)[0]
        except subprocess.TimeoutExpired:  # Ray was not ready
            process.kill()
            output = process.communicate()[0]
        return list(json.loads(output.splitlines()[0])) if output else []

    def python(self, *arguments: object, **options: Any) -> "subprocess.Popen[bytes]":
        """A driver, on the head's host."""
        environment = {**os.environ, "RAY_ADDRESS": self.address}
        return self.head.popen(sys.executable, *arguments, env=environment, **options)

    def until(self, is_so: Callable[[], bool], what: str, seconds: float = 150) -> None:
        """Waits, and meanwhile keeps Ray up on the workers."""
        end = time.monotonic() + seconds
        while not is_so():
            if time.monotonic() > end:
                logs = (log.read_text(errors="replace") for log in self.folder.glob("*.log"))
                raise TimeoutError(f"{what}: not in {seconds} s\n" + "\n".join(logs))
            self.keep_workers()
            time.sleep(0.1)


@dataclass(frozen=True)
class CutRun:
    """A run during which a host with an engine was cut off for a while."""

    exit_code: int
    document: dict[str, Any]
    messages: str
    store: Path
    record_ids: list[str]
    stored_before: int
    stored_meanwhile: int

    @property
    def counting(self) -> list[str]:
        """The record of every answer that counts by the reader rule."""
        rows = read_answers(str(self.store)).to_table(columns=["record_id"])
        return sorted(rows["record_id"].to_pylist())

    @property
    def superseded(self) -> int:
        """How many rows newer ones have superseded."""
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
        # Without these Ray would write its own token into the user's home.
        patched.setenv("RAY_AUTH_MODE", "token")
        patched.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        three = Hosts(Path(folder), head, workers)
        three.serve_s3()
        three.start_ray(
            head,
            *("--head", f"--port={GCS_PORT}", "--include-dashboard=false"),
            f"--system-config={json.dumps(KEEPS_WORKERS | HEALTH_CHECKS)}",
        )
        three.until(lambda: len(three.living()) == 3, "three hosts")
        yield three


@pytest.fixture(scope="module")
def cut(hosts: Hosts, tmp_path_factory: pytest.TempPathFactory) -> CutRun:
    return cut_run(hosts, tmp_path_factory.mktemp("cut"), records=4_000, seconds=60)


@pytest.mark.soak
def test_a_run_completes_even_if_a_host_is_cut_off_for_a_minute(cut: CutRun):
    assert cut.exit_code == 0, cut.messages
    records = len(cut.record_ids)
    assert counts(cut.document) == {"read": records, "answered": records}
    assert cut.counting == cut.record_ids
    assert cut.superseded <= IN_FLIGHT


@pytest.mark.soak
def test_a_run_goes_on_without_a_host_that_was_given_up(cut: CutRun):
    assert cut.stored_before + IN_FLIGHT < len(cut.record_ids)
    assert cut.stored_meanwhile > IN_FLIGHT
    assert len(cut.document["replicas"]) > REPLICAS  # the lost one was replaced


@pytest.mark.soak
def test_a_host_that_was_given_up_joins_the_cluster_again_after_the_cut(hosts: Hosts, cut: CutRun):
    hosts.until(lambda: len(hosts.living()) == 3, "three hosts")
    assert set(hosts.living()) == {host.address for host in (hosts.head, *hosts.workers)}


def cut_run(hosts: Hosts, folder: Path, records: int, seconds: int) -> CutRun:
    """Cuts off a host with an engine for some seconds in the middle of a run."""
    lines = rows(range(records))
    for at in range(0, records, 100):
        write_jsonl(folder / f"shards/{at:05}.jsonl", lines[at : at + 100])
    store = hosts.bucket / folder.name
    task = job(
        folder / "shards",
        f"s3://{hosts.bucket.name}/{store.name}",
        ROWS_PER_FILE,
        engine={"kind": "extractive", "replicas": REPLICAS},
        storage={"endpoint_url": f"http://{hosts.endpoint}"},
    )
    stdout, stderr = folder / "stdout", folder / "stderr"
    with stdout.open("wb") as out, stderr.open("wb") as err:
        command = ("-m", "jobs", "run", job_file(folder / "job.yaml", task), "--json")
        run = hosts.python(*command, stdout=out, stderr=err)

    hosts.until(lambda: rows_in(store) >= BEFORE or run.poll() is not None, "rows in the store")
    assert run.poll() is None, stderr.read_text()  # else nothing is shown
    # If it can be, the one that arranges the batches: nothing goes on until others have done that.
    host = max(filter(has_engine, hosts.workers), key=arranges)
    before, end = rows_in(store), time.monotonic() + seconds
    host.cut()
    while time.monotonic() < end:
        hosts.keep_workers()
        time.sleep(0.1)
    after, mended = rows_in(store), time.monotonic()
    host.mend()
    hosts.until(lambda: run.poll() is not None, "the end of the run")
    ended = time.monotonic()
    done = CutRun(
        run.returncode,
        json.loads(stdout.read_text() or "{}"),
        stderr.read_text(),
        store,
        sorted(str(row["record_id"]) for row in lines),
        stored_before=before,
        stored_meanwhile=after - before,
    )
    print(
        f"cut off for {seconds} s: {before} rows stored before, {done.stored_meanwhile} meanwhile, "
        f"exit {run.returncode} {ended - mended:.0f} s after, "
        f"{done.superseded} superseded"
    )
    return done


def rows_in(store: Path) -> int:
    return ROWS_PER_FILE * sum(1 for _ in (store / "answers").glob("part-*"))


def has_engine(host: Host) -> bool:
    titles = host.titles().values()
    return any(title.startswith("ray::MapWorker(MapBatches(BatchWorker)") for title in titles)


def arranges(host: Host) -> bool:
    return any("to_batches" in title for title in host.titles().values())
