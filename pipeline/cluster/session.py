"""The Ray cluster that a job runs on: an existing one, or one of its own on this machine."""

import logging
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import ray
from ray.data import DataContext
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pipeline.config.schema import EngineConfig
from pipeline.core.errors import EngineError, OvernightError, describe
from pipeline.core.processes import output_to
from pipeline.core.redaction import redacted
from pipeline.core.text import plural

REPLICA_MEMORY_BYTES = 2**30
"""What a replica's own process takes. Asking for it also keeps Ray Data from fusing reading and
rendering into the engine's actor, where the engine would wait for them."""

BLOCK_BYTES = 16 * 2**20
"""Size of blocks between stages: small, so that work streams and a crash costs little."""

STORE_BYTES_PER_CPU = 96 * 2**20
"""Shared memory for blocks, on a cluster that the job starts. By default Ray takes a third of the
machine, and fills it with blocks long before they are needed."""

UNLIMITED_NODES = 10_000
"""Stands for an autoscaler without a limit."""

_RAISED = re.compile(r"[\w.]+(?:Error|Exception|Exit|Interrupt): ")

_TOO_SLOW = re.compile(r"time(d |-)?out", re.IGNORECASE)

NO_PROGRESS_SECONDS = 2 * 3600
"""Ray Data gives up if no block moves for this long; an engine that hangs is found sooner."""


@contextmanager
def cluster(engine: EngineConfig | None = None, debug: bool = False) -> Iterator[None]:
    """Joins the cluster that `RAY_ADDRESS` names or that the caller has joined; else starts one.

    A cluster that it starts ends with the block. It never joins one that merely runs on this
    machine, as `ray.init()` would. Raises `EngineError` if the cluster has no room for the replicas
    of `engine`.
    """
    joined = ray.is_initialized()
    # Ray's C++ core warns of what Ray Data does by design, and its Python code reports lost
    # processes on standard output. Our own messages go to a copy of standard error.
    with open(os.devnull, "wb") as nowhere, output_to(2 if debug else nowhere.fileno()):
        if not joined:
            _start(engine.replicas.max if engine else 0, debug)
        _configure(engine, joined or bool(os.environ.get("RAY_ADDRESS")), debug)
        try:
            _require_cpus(engine.replicas.min if engine else 0)
            if engine and engine.gpus:
                _require_gpus(engine)
            yield
        finally:
            if not joined:
                ray.shutdown()


def _start(replicas: int, debug: bool) -> None:
    address = os.environ.get("RAY_ADDRESS")
    # A replica holds its CPU to the end. With few CPUs Ray Data would give all others to reading,
    # and nothing would be written until the last record has been read.
    cpus = (os.cpu_count() or 1) + replicas + 1
    if not address:  # on an existing cluster whoever started it decides about usage reports
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    on_sigterm = signal.getsignal(signal.SIGTERM)
    started = partial(
        ray.init,
        address=address or "local",
        log_to_driver=debug,
        logging_level=logging.INFO if debug else logging.ERROR,
        include_dashboard=None if address else False,
        num_cpus=None if address else cpus,
        _system_config=None if address else {"worker_niceness": 0},  # Ray's 15 slows engines too
        object_store_memory=None if address else cpus * STORE_BYTES_PER_CPU,
    )
    start_patiently(started, ray.shutdown)
    if on_sigterm is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, on_sigterm)  # Ray's handler would exit with 15


def start_patiently(start: Callable[[], object], clean_up: Callable[[], object]) -> None:
    """Starts Ray, and once more if its processes were too slow, as on a machine that is busy.

    Raises `EngineError`. What a failed start has left behind is cleaned up.
    """
    for is_last in (False, True):
        try:
            start()
            return
        except Exception as error:
            clean_up()
            if is_last or not _TOO_SLOW.search(f"{type(error).__name__}: {error}"):
                raise EngineError(f"Ray did not start: {describe(error)}") from error


def _configure(engine: EngineConfig | None, is_shared: bool, debug: bool) -> None:
    context = DataContext.get_current()
    # Reading waits where a replica might find no place, so that this is reported early.
    waits = engine is not None and (is_shared or not _has_places(engine))
    context.wait_for_min_actors_s = engine.start_seconds if engine and waits else -1
    context.execution_no_progress_timeout_s = NO_PROGRESS_SECONDS
    context.enable_progress_bars = False
    context.raise_original_map_exception = True  # else errors arrive as text
    context.print_on_execution_start = debug
    context.target_max_block_size = BLOCK_BYTES
    # A pool grows as soon as its replicas are fully occupied. Ray Data's default asks for more
    # batches per replica than a replica is ever given.
    context.autoscaling_config.actor_pool_util_upscaling_threshold = 1.0
    logging.getLogger("ray.data").setLevel(logging.INFO if debug else logging.ERROR)


def _has_places(engine: EngineConfig) -> bool:
    """Whether the replicas surely find their places on a cluster that nobody else uses."""
    room = sum(int(node.get("memory", 0)) // REPLICA_MEMORY_BYTES * n for node, n in _nodes())
    is_plain = engine.accelerator_type is None and not engine.spans_nodes
    return room >= engine.replicas.min and is_plain


def _require_cpus(replicas: int) -> None:
    cpus = sum(int(node.get("CPU", 0)) * nodes for node, nodes in _nodes())
    if cpus < replicas + 1:
        raise EngineError(
            f"the cluster has {plural(cpus, 'CPU')}; {plural(replicas, 'replica')} at 1 CPU each, "
            f"and 1 for reading and writing, need {replicas + 1} CPUs: lower engine.replicas"
        )


def _require_gpus(engine: EngineConfig) -> None:
    """Counts places for replicas: node by node, unless a replica may span nodes."""
    kind = engine.accelerator_type
    gpus = [
        (int(node.get("GPU", 0)), nodes)
        for node, nodes in _nodes()
        if kind is None or f"accelerator_type:{kind}" in node
    ]
    if engine.spans_nodes:
        places, where = sum(n * nodes for n, nodes in gpus) // engine.gpus, "on any nodes"
    else:
        places, where = sum(n // engine.gpus * nodes for n, nodes in gpus), "on one node"
    if places < engine.replicas.min:
        of_kind = f" of kind {kind}" if kind else ""
        alone = "" if os.environ.get("RAY_ADDRESS") else "; RAY_ADDRESS is not set"
        raise EngineError(
            f"engine.replicas: {places} of {engine.replicas.min} have a place in the cluster (GPUs"
            f"{of_kind} for each, {where}: {engine.gpus}); lower engine.replicas or "
            f"engine.gpus_per_replica, which is 0 for the CPU build of vLLM{alone}"
        )


def _nodes() -> Iterator[tuple[Mapping[str, float], int]]:
    """A node's resources and the number of such nodes, with those that an autoscaler may add.

    Ray has no public call for the autoscaler's nodes; Ray Data asks in the same way.
    """
    for node in ray.nodes():  # type: ignore[no-untyped-call]
        if node["Alive"]:
            yield node["Resources"], 1
    config: Any = ray._private.state.state.get_cluster_config()
    for group in config.node_group_configs if config else ():
        most = group.max_count
        yield dict(group.resources), UNLIMITED_NODES if most < 0 else most


@contextmanager
def actor_beside_driver(kind: type[Any], *arguments: Any) -> Iterator[Any]:
    """An actor that takes no CPU, on the driver's node, so that no other node takes it along.

    It ends with the block: a driver that goes on would keep it.
    """
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    remote: Any = ray.remote
    actor = remote(num_cpus=0, scheduling_strategy=here)(kind).remote(*arguments)
    try:
        yield actor
    finally:
        with suppress(RayError, RuntimeError):  # of a cluster that is lost
            ray.kill(actor)


def cluster_resources() -> dict[str, float]:
    """The cluster's resources under Ray's names: CPU, GPU, memory in bytes, ..."""
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return resources


def cause_of(error: Exception) -> OvernightError:
    """The error of ours inside one that Ray raised for a failed task, else one with its message."""
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, OvernightError):
            # Ray's own class for it carries the remote traceback in its message.
            cause = getattr(inner, "cause", inner)
            return cause if isinstance(cause, OvernightError) else inner
        inner = getattr(inner, "cause", None) or inner.__cause__
    return EngineError(f"the cluster failed: {_message(error)}")


def _message(error: Exception) -> str:
    """An error of Ray's in one line; of a remote traceback in it, the exception."""
    raised = [line for line in str(error).splitlines() if _RAISED.match(line)]
    return redacted(raised[-1])[:500] if raised else describe(error)[:500]
