"""The options of vLLM in the job file, checked without importing it."""

import ast
from functools import lru_cache
from importlib.metadata import packages_distributions, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pipeline.config.schema import Job
from pipeline.core.errors import ConfigError, nearest
from pipeline.engines.chat_template import CHAT_TEMPLATE
from pipeline.engines.parallelism import check_parallelism

RESERVED = {
    "model": "engine.model",
    "revision": "engine.revision",
    "reasoning_parser": "engine.reasoning",
    "tensor_parallel_size": "engine.gpus_per_replica",
}
"""Options of vLLM that have their own key in the job file."""


def check_vllm(job: Job) -> None:
    """Raises `ConfigError` for what vLLM would refuse, before a model is loaded."""
    known = option_names()
    for name in vllm_options(job):
        if name in RESERVED:
            raise ConfigError(f"engine.options.{name}: set {RESERVED[name]} instead")
        if name not in known:
            raise ConfigError(f"engine.options.{name}: no option of vLLM{nearest(name, known)}")
    check_parallelism(job.engine)
    if job.engine.gpus == 0 and not _is_cpu_build():
        raise ConfigError(
            "engine.gpus_per_replica: 0 needs the CPU build of vLLM; the GPU build is installed"
        )


def vllm_options(job: Job) -> dict[str, Any]:
    """The job's options that are meant for vLLM's engine: all but the chat template."""
    return {name: v for name, v in job.engine.options.items() if name != CHAT_TEMPLATE}


def _is_cpu_build() -> bool:
    return "cpu" in _distribution() or vllm_version().endswith("+cpu")


def vllm_version() -> str:
    return version(_distribution())


def _distribution() -> str:
    """The package that provides vLLM; each build has its own."""
    return packages_distributions()["vllm"][0]


@lru_cache(maxsize=1)
def option_names() -> frozenset[str]:
    """The fields of vLLM's engine arguments; `ConfigError` if vLLM is not installed.

    Read from its source: an import takes seconds, and a GPU build may not import on a machine
    without GPUs.
    """
    spec = find_spec("vllm")
    if spec is None or spec.origin is None:
        raise ConfigError("engine.kind: vLLM is not installed here: pip install 'overnight[vllm]'")
    tree = ast.parse(Path(spec.origin).with_name("engine").joinpath("arg_utils.py").read_bytes())
    return frozenset(
        field.target.id
        for node in tree.body
        if isinstance(node, ast.ClassDef) and node.name in ("EngineArgs", "AsyncEngineArgs")
        for field in node.body
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
    )
