"""The GPUs that the options of an engine ask for."""

from collections.abc import Mapping
from math import prod
from typing import Any

PARTS = {
    "pipeline_parallel_size": "pipeline",
    "prefill_context_parallel_size": "prefill context",
}
"""Options of vLLM that multiply the GPUs of a model, with their names in messages. The other
factor, tensor parallel, is what they leave of `engine.gpus_per_replica`."""

EXECUTOR = "distributed_executor_backend"


def gpus_per_rank(options: Mapping[str, Any]) -> int:
    """GPUs for each tensor parallel rank."""
    sizes = (options.get(name, 1) for name in PARTS)
    return prod(size for size in sizes if isinstance(size, int) and size > 0)


def spans_nodes(options: Mapping[str, Any]) -> bool:
    """Whether the GPUs of a replica may be on several nodes: Ray places each of them."""
    return options.get(EXECUTOR) == "ray"
