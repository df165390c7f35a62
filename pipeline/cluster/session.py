"""The Ray cluster under a job: the one it was started on, or one of its own on this machine."""

import logging
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import ray
from ray.data import DataContext
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import (
    NodeAffinitySchedulingStrategy,
    PlacementGroupSchedulingStrategy,
)

from pipeline.config.schema import EngineConfig
from pipeline.core.errors import EngineError, OvernightError, describe
from pipeline.core.redaction import redacted

BLOCK_BYTES = 16 * 2**20
"""Blocks between stages: small, so that work streams and a crash costs little; never one row."""

STORE_BYTES_PER_CPU = 96 * 2**20
"""Shared memory for blocks on a cluster of one's own; Ray would take a third of the machine, and
fill it with what is read too early."""


MANY_NODES = 10_000
"""What an autoscaler without a limit counts for."""

_RAISED = re.compile(r"[\w.]+(?:Error|Exception|Exit|Interrupt): ")

NO_PROGRESS_SECONDS = 2 * 3600
"""Ray Data gives up after so long without any table moving; engines that hang are found sooner."""


@contextmanager
def cluster(engine: EngineConfig | None = None, debug: bool = False) -> Iterator[None]:
    """Joins the cluster that `RAY_ADDRESS` names or that the caller has joined; else starts one.

    One of its own is ended with the job. It never joins a cluster that merely happens to run on
    this machine, as `ray.init()` would. Raises `EngineError` where the replicas of `engine` would
    find no place.
    """
    fewest, most = (engine.replicas.min, engine.replicas.max) if engine else (0, 0)
    joined = ray.is_initialized()
    with open(os.devnull, "wb") as nowhere, _backend_lines_to(2 if debug else nowhere.fileno()):
        if not joined:
            _start(most, debug)
        _configure(engine, debug)
        try:
            _require_cpus(fewest)
            if engine and engine.gpus:
                _require_gpus(engine)
            yield
        finally:
            if not joined:
                ray.shutdown()


@contextmanager
def _backend_lines_to(target: int) -> Iterator[None]:
    """Sends what Ray writes to standard output and standard error to another descriptor.

    Its C++ core warns in capitals of things that Ray Data does by itself, and its Python part
    reports lost processes on standard output, where a document may be expected. Who has something
    to say meanwhile writes to a descriptor of its own.
    """
    sys.stdout.flush()
    shown = os.dup(1), os.dup(2)
    try:
        os.dup2(target, 1)
        os.dup2(target, 2)
        yield
    finally:
        sys.stdout.flush()
        os.dup2(shown[0], 1)
        os.dup2(shown[1], 2)
        for descriptor in shown:
            os.close(descriptor)


def _start(replicas: int, debug: bool) -> None:
    address = os.environ.get("RAY_ADDRESS")
    # A replica holds a CPU for good. On a cluster of few CPUs Ray Data would let reading have all
    # the others, and the first rows would be written when the last record has been read.
    cpus = (os.cpu_count() or 1) + replicas + 1
    if not address:  # a process that tells Ray's makers of runs; who starts a cluster decides
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    at_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(
            address=address or "local",
            log_to_driver=debug,
            logging_level=logging.INFO if debug else logging.ERROR,
            include_dashboard=None if address else False,
            num_cpus=None if address else cpus,
            object_store_memory=None if address else cpus * STORE_BYTES_PER_CPU,
        )
    except Exception as error:
        raise EngineError(f"Ray did not start: {describe(error)}") from error
    if at_sigterm is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, at_sigterm)  # Ray's own would end the process with 15


def _configure(engine: EngineConfig | None, debug: bool) -> None:
    context = DataContext.get_current()
    # Nothing is read before every replica has its place, so that a missing one is told of early.
    context.wait_for_min_actors_s = engine.start_seconds if engine else -1
    context.execution_no_progress_timeout_s = NO_PROGRESS_SECONDS
    context.enable_progress_bars = False
    context.raise_original_map_exception = True  # else an error arrives as text, without its kind
    context.print_on_execution_start = debug
    context.target_max_block_size = BLOCK_BYTES
    # A pool grows as soon as its replicas have all they can work on; by Ray Data's own measure it
    # would have to wait for more than they may be handed.
    context.autoscaling_config.actor_pool_util_upscaling_threshold = 1.0
    logging.getLogger("ray.data").setLevel(logging.INFO if debug else logging.ERROR)


def _require_cpus(replicas: int) -> None:
    cpus = int(cluster_resources().get("CPU", 0)) + _to_come(lambda held: int(held.get("CPU", 0)))
    if cpus < replicas + 1:
        raise EngineError(
            f"the cluster has {cpus} CPUs; {replicas} replicas need one each and reading and "
            "writing one more: lower engine.replicas"
        )


def _require_gpus(engine: EngineConfig) -> None:
    """A replica's GPUs are all on one node; so it is places on nodes that count, not GPUs."""
    kind = engine.accelerator_type

    def places_on(held: Mapping[str, float]) -> int:
        fits = kind is None or f"accelerator_type:{kind}" in held
        return int(held.get("GPU", 0)) // engine.gpus if fits else 0

    places = sum(places_on(node["Resources"]) for node in living_nodes()) + _to_come(places_on)
    if places < engine.replicas.min:
        of_kind = f" of kind {kind}" if kind else ""
        raise EngineError(
            f"engine.replicas: {places} of {engine.replicas.min} have a place in the cluster (GPUs"
            f"{of_kind} for each, on one node: {engine.gpus}); lower engine.replicas or "
            "engine.gpus_per_replica, which is 0 for the CPU build of vLLM"
        )


def living_nodes() -> list[dict[str, Any]]:
    """Ray's words on each node of the cluster that lives."""
    return [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]


def _to_come(counted: Callable[[Mapping[str, float]], int]) -> int:
    """What the nodes hold that an autoscaler may add, by its own word.

    Ray has no public call for it; Ray Data asks the same way.
    """
    config: Any = ray._private.state.state.get_cluster_config()
    groups = config.node_group_configs if config else ()
    return sum(
        counted(dict(group.resources)) * (MANY_NODES if group.max_count < 0 else group.max_count)
        for group in groups
    )


@contextmanager
def placement(engine: EngineConfig, memory: int) -> Iterator[dict[str, Any]]:
    """How Ray places the replicas: over the nodes, as Ray Data has it, or on as few as hold them.

    Packed ones stand in one placement group, so that their places are found together; a replica
    that starts again keeps its own. With the block they are free for others.
    """
    if engine.placement == "spread":
        yield {}
        return
    bundle: dict[str, float] = {"CPU": 1, "memory": memory}
    if engine.gpus:
        bundle["GPU"] = engine.gpus
    if engine.accelerator_type:
        bundle[f"accelerator_type:{engine.accelerator_type}"] = 0.001
    group = placement_group([bundle] * engine.replicas.max, strategy="PACK")
    try:
        yield {"scheduling_strategy": PlacementGroupSchedulingStrategy(group)}
    finally:
        remove_placement_group(group)


def beside_driver(keeper: type[Any]) -> Any:
    """An actor class that takes no CPU and stands on the driver's node: no other one takes it
    along when it fails.
    """
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    remote: Any = ray.remote
    return remote(num_cpus=0, scheduling_strategy=here)(keeper)


def cluster_resources() -> dict[str, float]:
    """What the cluster has, in Ray's names: CPU, GPU, memory in bytes, ..."""
    found: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return found


def cause_of(error: Exception) -> OvernightError:
    """The error of ours inside what Ray raises for a failed task, or one with Ray's words."""
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, OvernightError):
            # Ray's own class for it carries the remote traceback in its message.
            held = getattr(inner, "cause", inner)
            return held if isinstance(held, OvernightError) else inner
        inner = getattr(inner, "cause", None) or inner.__cause__
    return EngineError(f"the cluster failed: {_last_words(error)}")


def _last_words(error: Exception) -> str:
    """What Ray says of an error in a line; of a remote traceback inside it, the exception."""
    raised = [line for line in str(error).splitlines() if _RAISED.match(line)]
    return redacted(raised[-1])[:500] if raised else describe(error)[:500]
