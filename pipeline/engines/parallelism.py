"""How vLLM divides a model over the GPUs of a replica, and what of it a job file may ask for."""

from typing import Any

from pipeline.config.gpus import EXECUTOR, PARTS, gpus_per_rank
from pipeline.config.schema import EngineConfig
from pipeline.core.errors import ConfigError

_BY_HAND = ("nnodes", "node_rank", "master_addr", "master_port")
"""Options for engines that somebody starts on every node, each with its own arguments."""


def check_parallelism(engine: EngineConfig) -> None:
    """Raises `ConfigError` for options that would use other GPUs than the replica's own."""
    for name in engine.options:
        if name.startswith("data_parallel_") or "elastic_ep" in name:
            raise ConfigError(
                f"engine.options.{name}: copies of a model within a replica get no GPUs; set "
                "engine.replicas to the number of copies, each has GPUs of its own (to divide "
                "experts over the GPUs of a replica: engine.options.enable_expert_parallel)"
            )
        if name in _BY_HAND:
            raise ConfigError(
                f"engine.options.{name}: is for engines that are started by hand on every node; "
                f"for a replica over several nodes set engine.options.{EXECUTOR}: ray"
            )
    _check_sizes(engine)
    _check_executor(engine)


def parallel_arguments(engine: EngineConfig) -> dict[str, Any]:
    """vLLM's arguments for the job's GPUs; the job's options go over them.

    The model's processes are on this node and below this process, so that their GPUs are those
    that Ray assigned; the job may set Ray's executor instead.
    """
    if engine.gpus <= 1:
        return {}
    return {"tensor_parallel_size": engine.gpus // gpus_per_rank(engine.options), EXECUTOR: "mp"}


def describe_gpus(engine: EngineConfig) -> str:
    """The GPUs of all replicas, and how each divides its own."""
    if not engine.gpus:
        return "no GPUs"
    sizes = {"tensor": engine.gpus // gpus_per_rank(engine.options)}
    sizes |= {label: engine.options.get(name, 1) for name, label in PARTS.items()}
    divided = " × ".join(f"{label} {size}" for label, size in sizes.items() if size > 1)
    least, most = (n * engine.gpus for n in (engine.replicas.min, engine.replicas.max))
    together = f"{least}" if least == most else f"{least} to {most}"
    each = f"{engine.gpus} for each of {engine.replicas}"
    return f"GPUs: {together} ({each}{': ' if divided else ''}{divided})"


def _check_sizes(engine: EngineConfig) -> None:
    for name in PARTS:
        size = engine.options.get(name, 1)
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise ConfigError(f"engine.options.{name}: {size!r} is not a number of GPUs above 0")
    others = gpus_per_rank(engine.options)
    if others > 1 and not engine.gpus:
        raise ConfigError(
            f"engine.options: {' × '.join(name for name in PARTS if name in engine.options)} needs "
            "GPUs, and engine.gpus_per_replica is 0: vLLM's CPU build does not divide a model so"
        )
    if engine.gpus % others:
        set_ = " × ".join(name for name in PARTS if name in engine.options)
        raise ConfigError(
            f"engine.gpus_per_replica: {engine.gpus} is not a multiple of engine.options.{set_} "
            f"({others}); it counts all GPUs of a replica, tensor parallel ones times these"
        )


def _check_executor(engine: EngineConfig) -> None:
    match engine.options.get(EXECUTOR):
        case "external_launcher":
            raise ConfigError(
                f"engine.options.{EXECUTOR}: external_launcher is for engines that torchrun "
                "starts; use mp within a node, or ray over several"
            )
        case "uni" if engine.gpus > 1:
            raise ConfigError(
                f"engine.options.{EXECUTOR}: uni has one GPU, the replica {engine.gpus}; leave it "
                "out"
            )
        case "ray":
            _check_spanning(engine)


def _check_spanning(engine: EngineConfig) -> None:
    """A replica over several nodes has a placement group of its own, made before it starts."""
    if not engine.gpus:
        raise ConfigError(
            f"engine.options.{EXECUTOR}: ray needs GPUs, and engine.gpus_per_replica is 0; leave "
            "it out"
        )
    if engine.placement == "packed":
        raise ConfigError(
            f"engine.placement: with engine.options.{EXECUTOR}: ray each replica is packed by "
            "itself, on as few nodes as can hold it; leave engine.placement out"
        )
    if not engine.replicas.is_fixed:
        raise ConfigError(
            f"engine.replicas: with engine.options.{EXECUTOR}: ray their places are reserved all "
            "at once; set a single number"
        )
