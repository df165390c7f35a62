"""The options of vLLM in the job file, checked without importing it."""

import re
from functools import cache
from importlib.metadata import packages_distributions, version
from typing import Any

from pipeline.config.schema import Job
from pipeline.core.errors import ConfigError, nearest
from pipeline.engines.chat_template import CHAT_TEMPLATE, template_of
from pipeline.engines.option_source import option_type
from pipeline.engines.option_types import Mismatch
from pipeline.engines.parallelism import check_parallelism
from pipeline.engines.reasoning_parsers import check_parser
from pipeline.engines.vllm_source import LENGTH, readable_integers
from pipeline.engines.vllm_source import option_names as option_names

RESERVED = {
    "model": "engine.model",
    "revision": "engine.revision",
    "reasoning_parser": "engine.reasoning",
    "tensor_parallel_size": "engine.gpus_per_replica",
}
"""Options of vLLM that have their own key in the job file."""

_MULTIPLES = {
    **{unit: 1000**power for power, unit in enumerate("kmgt", 1)},
    **{unit: 1024**power for power, unit in enumerate("KMGT", 1)},
}
_READABLE = re.compile(r"\s*(\d+(?:\.\d+)?)([kmgt])\s*|\s*(\d+)([KMGT])\s*")


def check_vllm(job: Job) -> None:
    """Raises `ConfigError` for what vLLM would refuse, before a model is loaded."""
    known = option_names()
    for name in (name for name in job.engine.options if name != CHAT_TEMPLATE):
        if name in RESERVED:
            raise ConfigError(f"engine.options.{name}: set {RESERVED[name]} instead")
        if name not in known:
            raise ConfigError(f"engine.options.{name}: no option of vLLM{nearest(name, known)}")
    check_parallelism(job.engine)
    vllm_options(job)
    if job.engine.reasoning not in ("auto", "off"):
        check_parser(job.engine.reasoning)
    if job.engine.gpus == 0 and not _is_cpu_build():
        raise ConfigError(
            "engine.gpus_per_replica: 0 needs the CPU build of vLLM; the GPU build is installed"
        )


def vllm_options(job: Job) -> dict[str, Any]:
    """The job's options that are meant for vLLM's engine, in its own types: all but the chat
    template. Raises `ConfigError` for a value that vLLM would refuse.
    """
    options = job.engine.options
    return {name: _option(name, value) for name, value in options.items() if name != CHAT_TEMPLATE}


def with_option_values(job: Job) -> Job:
    """The job with its options as `vllm_options` has them, and the text of its chat template in
    place of a path, for nodes without that file.
    """
    if job.engine.kind != "vllm":
        return job
    options, template = vllm_options(job), template_of(job)
    if template is not None:
        options[CHAT_TEMPLATE] = template
    return job.model_copy(update={"engine": job.engine.model_copy(update={"options": options})})


def _option(name: str, value: Any) -> Any:
    if name not in option_names():
        return value
    try:
        return option_type(name).fit(_readable(name, value))
    except Mismatch as mismatch:
        place = ".".join((name, *mismatch.keys))
        hint = ", as in 16384, 16k or auto" if name == LENGTH else ""
        raise ConfigError(f"engine.options.{place}: {mismatch.said}{hint}") from None


def _readable(name: str, value: Any) -> Any:
    """A number that is written as vLLM's command line takes it, such as `16k`."""
    if not isinstance(value, str) or name not in readable_integers():
        return value
    if name == LENGTH and value.strip().lower() == "auto":
        return -1
    if not (match := _READABLE.fullmatch(value)):
        return value
    number, unit = match[1] or match[3], match[2] or match[4]
    return int(float(number) * _MULTIPLES[unit])


def _is_cpu_build() -> bool:
    return "cpu" in _distribution() or vllm_version().endswith("+cpu")


def vllm_version() -> str:
    return version(_distribution())


@cache
def _distribution() -> str:
    """The package that provides vLLM; each build has its own."""
    return packages_distributions()["vllm"][0]
