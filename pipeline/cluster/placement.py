"""Where Ray puts the replicas of a run, and the GPUs of each."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import cycle
from typing import Any

from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from pipeline.cluster.session import REPLICA_MEMORY_BYTES
from pipeline.config.schema import EngineConfig


@contextmanager
def placement(engine: EngineConfig) -> Iterator[dict[str, Any]]:
    """The arguments for Ray Data that place the replicas; groups of places end with the block.

    One that restarts keeps its place. `memory` is in bytes per replica. Ray 2.64 will take no
    function of arguments any more; until then nothing else gives each replica a group of its own.
    """
    itself = {"num_cpus": 1, "memory": REPLICA_MEMORY_BYTES}
    kind = {"accelerator_type": engine.accelerator_type}
    with ExitStack() as block:
        if engine.spans_nodes:
            groups = cycle([_group(_bundles(engine), block) for _ in range(engine.replicas.max)])
            yield {**itself, "num_gpus": 0, "ray_remote_args_fn": lambda: _within(next(groups))}
        elif engine.placement == "packed":
            packed = _group([_bundle(engine, engine.gpus)] * engine.replicas.max, block)
            yield {**itself, **kind, "num_gpus": engine.gpus, **_within(packed)}
        else:  # Ray Data's default: spread over nodes
            yield {**itself, **kind, "num_gpus": engine.gpus}


def _bundles(engine: EngineConfig) -> list[dict[str, float]]:
    """The places of a replica that may span nodes: one for each GPU, as vLLM's executor wants them.

    The replica's own process is beside the first of its GPUs and has none; vLLM finds the group
    that it runs in, and starts a process for each GPU there.
    """
    gpu = {"GPU": 1.0, **_kind(engine)}
    return [_bundle(engine, 1), *[gpu] * (engine.gpus - 1)]


def _bundle(engine: EngineConfig, gpus: int) -> dict[str, float]:
    """The place of a replica's process, with GPUs."""
    bundle: dict[str, float] = {"CPU": 1, "memory": REPLICA_MEMORY_BYTES, **_kind(engine)}
    return {**bundle, "GPU": gpus} if gpus else bundle


def _kind(engine: EngineConfig) -> dict[str, float]:
    """What makes a bundle go to a node with that kind of GPU."""
    kind = engine.accelerator_type
    return {f"accelerator_type:{kind}": 0.001} if kind else {}


def _group(bundles: list[dict[str, float]], block: ExitStack) -> PlacementGroup:
    """Places on as few nodes as can hold them, which are taken all at once."""
    group: PlacementGroup = placement_group(bundles, strategy="PACK")
    block.callback(remove_placement_group, group)
    return group


def _within(group: PlacementGroup) -> dict[str, Any]:
    return {"scheduling_strategy": PlacementGroupSchedulingStrategy(group)}
