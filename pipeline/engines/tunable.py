"""The options of vLLM that `overnight tune` tries, the likeliest gain first: one function each.

A function gives the values to try beside the present one, or a line on why there are none here.
"""

import os
import platform
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pipeline.config.schema import Job
from pipeline.core.text import plural

LEAST_SEQUENCES = 4

FEWEST_BATCHES = 2
"""Batches that a sample must fill before it tells one number of sequences from another."""

LEAST_BATCHED_TOKENS, MOST_BATCHED_TOKENS = 512, 65_536

MOST_GRAPH_SEQUENCES = 1024

FP8_CAPABILITY = 89
"""Of the first GPUs that compute with FP8, those of Ada and Hopper."""

STEPS = 3
"""Factors of two, up and down, by which numbers are changed at most."""

UNKNOWN = "the job's own settings did not start"

MEMORY_SHARE = 0.95

NGRAM = {"method": "ngram", "num_speculative_tokens": 4, "prompt_lookup_max": 4}
SUFFIX = {"method": "suffix", "num_speculative_tokens": 16}
SUFFIX_PACKAGE = "arctic_inference"

Values: TypeAlias = list[Any] | str

Effect: TypeAlias = Literal["none", "answers", "sampling"]
"""What an option may change besides the speed: what is said, or only what is said above
temperature 0, where it is also slower than a measurement at 0 says.
"""


@dataclass(frozen=True, slots=True)
class Device:
    """What vLLM runs on; `capability` as in 90 for 9.0, None where there is no such number."""

    name: str
    is_cpu: bool
    capability: int | None = None


@dataclass(frozen=True, slots=True)
class Situation:
    """A job, its device, how many records its sample has, and what vLLM made of its options."""

    job: Job
    device: Device
    records: int
    in_force: Mapping[str, Any]

    def is_set(self, option: str) -> bool:
        return bool(self.job.engine.options.get(option))


@dataclass(frozen=True, slots=True)
class Tunable:
    """An option by its name and its name for people."""

    option: str
    said: str
    values: Callable[[Situation], Values]
    effect: Effect = "none"
    in_order: bool = False  # whether values are numbers with the best somewhere between


def device() -> Device:
    """The device of this machine, by vLLM, whose import takes seconds."""
    from vllm.platforms import current_platform

    if current_platform.is_cpu():
        return Device(_processor(), is_cpu=True)
    capability = current_platform.get_device_capability()
    number = capability.to_int() if capability else None
    return Device(str(current_platform.get_device_name()), is_cpu=False, capability=number)


def _processor() -> str:
    """The processor and how many of its cores there are for this process."""
    model = platform.machine()
    with suppress(OSError):
        described = Path("/proc/cpuinfo").read_text(errors="replace")
        models = re.findall(r"^model name\s*:\s*(.+)$", described, re.MULTILINE)
        model = models[0] if models else model
    return f"{model}, {plural(len(os.sched_getaffinity(0)), 'core')}"


def values_of(tunable: Tunable, at: Situation) -> Values:
    if tunable.option in at.job.engine.generation_options:
        return "is in engine.generation_options: another value makes all stored answers stale"
    return tunable.values(at)


def effect_of(tunable: Tunable, job: Job) -> Effect:
    """At temperature 0 nothing is sampled, but numbers may be rounded otherwise."""
    is_greedy = job.sampling.temperature == 0
    return "answers" if tunable.effect == "sampling" and is_greedy else tunable.effect


def _sequences(at: Situation) -> Values:
    present = at.in_force.get("max_num_seqs")
    if not present:
        return UNKNOWN
    most = at.records // FEWEST_BATCHES
    values = _around(present, LEAST_SEQUENCES, most)
    return values or f"{present} now, and {at.records} records tell no others apart: --records"


def _batched_tokens(at: Situation) -> Values:
    present = at.in_force.get("max_num_batched_tokens")
    return _around(present, LEAST_BATCHED_TOKENS, MOST_BATCHED_TOKENS) if present else UNKNOWN


def _around(present: int, least: int, most: int) -> list[Any]:
    """Numbers by factors of two away from a present one, within limits."""
    wanted = (round(present * 2.0**power) for power in range(-STEPS, STEPS + 1) if power)
    return [value for value in wanted if least <= value <= most]


def _memory_share(at: Situation) -> Values:
    if at.device.is_cpu:
        return "the CPU build shares its memory with all else"
    if at.is_set("kv_cache_memory_bytes"):
        return "engine.options.kv_cache_memory_bytes says how much"
    present = at.in_force.get("gpu_memory_utilization", MEMORY_SHARE)
    return [MEMORY_SHARE] if present < MEMORY_SHARE else f"{present:g} now, which is most of it"


def _graph_sizes(at: Situation) -> Values:
    if at.device.is_cpu:
        return "the CPU build has no CUDA graphs"
    if at.is_set("enforce_eager"):
        return "engine.options.enforce_eager turns CUDA graphs off; try without it"
    if at.is_set("cudagraph_capture_sizes") or at.is_set("compilation_config"):
        return "the job lists its own sizes"
    present = at.in_force.get("max_cudagraph_capture_size")
    return _around(present, 1, MOST_GRAPH_SEQUENCES)[-2:] if present else UNKNOWN


def _cache_type(at: Situation) -> Values:
    if not at.device.is_cpu and (at.device.capability or 0) < FP8_CAPABILITY:
        return f"{at.device.name} does not compute with FP8"
    return "fp8 now" if str(at.in_force.get("kv_cache_dtype")).startswith("fp8") else ["fp8"]


def _ngram(at: Situation) -> Values:
    return "the job has its own" if at.is_set("speculative_config") else [NGRAM]


def _suffix(at: Situation) -> Values:
    if at.is_set("speculative_config"):
        return "the job has its own"
    return [SUFFIX] if find_spec(SUFFIX_PACKAGE) else "needs the package arctic-inference"


def _no_speculation(at: Situation) -> Values:
    return [None] if at.is_set("speculative_config") else "there is none"


def _block_size(at: Situation) -> Values:
    present, wanted = at.in_force.get("block_size"), (32, 64, 128) if at.device.is_cpu else (16, 32)
    return [size for size in wanted if size != present] if present else UNKNOWN


TUNABLES = (
    Tunable("max_num_seqs", "sequences", _sequences, in_order=True),
    Tunable("max_num_batched_tokens", "batched tokens", _batched_tokens, in_order=True),
    Tunable("gpu_memory_utilization", "memory share", _memory_share),
    Tunable("max_cudagraph_capture_size", "CUDA graph sizes", _graph_sizes, in_order=True),
    Tunable("kv_cache_dtype", "KV cache type", _cache_type, "answers"),
    Tunable("speculative_config", "n-gram speculation", _ngram, "sampling"),
    Tunable("speculative_config", "suffix speculation", _suffix, "sampling"),
    Tunable("speculative_config", "no speculation", _no_speculation, "sampling"),
    Tunable("block_size", "cache block", _block_size, in_order=True),
)
