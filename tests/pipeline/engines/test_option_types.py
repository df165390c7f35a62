"""Values of `engine.options` against the types of the vLLM that is installed."""

import subprocess
import sys
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.core.errors import ConfigError
from pipeline.engines import check_engine, max_concurrent_batches
from pipeline.engines.model_files import ModelSpec
from pipeline.engines.option_source import option_type
from pipeline.engines.option_types import (
    Anything,
    Limited,
    ListOf,
    MappingOf,
    Mismatch,
    Number,
    Text,
    Truth,
    parts_of,
)
from pipeline.engines.vllm_options import RESERVED, vllm_options, with_option_values
from pipeline.engines.vllm_source import option_names
from tests.support.jobs import WORKER_INSIDE, vllm_job

NAMES = sorted(option_names())


def refusal(name: str, value: Any) -> str:
    """Why a value is refused; empty if it is taken."""
    try:
        option_type(name).fit(value)
    except Mismatch as mismatch:
        return mismatch.said
    return ""


def defaults() -> dict[str, Any]:
    """vLLM's own defaults, as a job file would have them."""
    from vllm.engine.arg_utils import AsyncEngineArgs

    def plain(value: Any) -> Any:
        if is_dataclass(value):
            return {}
        if isinstance(value, Enum):
            return int(value) if isinstance(value, int) else value.name
        return sorted(value) if isinstance(value, set) else value

    both = {f.name: (f.default, f.default_factory) for f in fields(AsyncEngineArgs)}
    return {
        name: plain(factory() if default is MISSING else default)
        for name, (default, factory) in both.items()
    }


def test_each_default_of_vllm_is_taken():
    assert {n: refusal(n, value) for n, value in defaults().items() if refusal(n, value)} == {}


def test_nearly_every_option_has_a_type():
    assert [n for n in NAMES if option_type(n) == Anything()] == ["pooler_config"]


FAMILY = ["heron", 10.5, True, ["heron"], {"heron": 1}]
"""A value of each type; none is a choice, a key, or can be converted to another type."""

TAKEN: dict[type, type] = {Text: str, Truth: bool, ListOf: list, MappingOf: dict}


@pytest.mark.parametrize("name", [n for n in NAMES if option_type(n) != Anything()])
def test_a_value_of_another_type_is_refused(name: str):
    parts = [p.inner if isinstance(p, Limited) else p for p in parts_of(option_type(name))]
    taken = {TAKEN.get(type(part)) for part in parts}
    taken |= {float} if Number("float") in parts else set()
    wrong = [value for value in FAMILY if type(value) not in taken]
    assert len(wrong) >= 3
    assert [value for value in wrong if not refusal(name, value)] == []


TYPE_FAULTS = ("_type", "_parsing", "literal_error", "enum", "_than", "_equal")
ELSEWHERE = {"pooler_config", "spec_method", "spec_tokens"}
"""Options whose types are not in their declaration: vLLM itself refuses a wrong one."""


@pytest.mark.parametrize("value", [*FAMILY, -7, 0, 3, None, [3], "3", "yes"], ids=repr)
def test_what_vllm_refuses_by_its_type_is_refused_here(tiny_model: Path, value: Any):
    """With vLLM's own configuration of an engine, for every option."""
    missed = []
    for name in NAMES:
        if name in ELSEWHERE | {"model"} or name.startswith("_") or refusal(name, value):
            continue
        fault = vllm_fault(tiny_model, {name: option_type(name).fit(value)})
        if any(kind in fault for kind in TYPE_FAULTS):
            missed.append((name, fault))
    assert missed == []


def vllm_fault(model: Path, options: dict[str, Any]) -> str:
    """The kinds of faults that vLLM finds by types, or the exception's name; empty for none."""
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.usage.usage_lib import UsageContext

    try:
        AsyncEngineArgs(model=str(model), **options).create_engine_config(UsageContext.LLM_CLASS)
    except ValidationError as error:
        return " ".join(fault["type"] for fault in error.errors())
    except Exception as error:
        return type(error).__name__
    return ""


@pytest.mark.parametrize(
    "options",
    [
        {"max_model_len": "4k"},
        {"max_model_len": "4K"},
        {"max_model_len": "1.5k"},
        {"max_model_len": "auto"},
        {"max_model_len": -1},
        {"max_model_len": "4096"},
        {"max_num_seqs": "16", "max_num_batched_tokens": "8k"},
        {"kv_cache_memory_bytes": "1G"},
        {"gpu_memory_utilization": "0.5"},
        {"gpu_memory_utilization": 1},
        {"dtype": "half"},
        {"quantization": "FP8"},
        {"load_format": "Dummy"},
        {"attention_backend": "auto"},
        {"attention_backend": "cpu_attn"},
        {"enforce_eager": 1, "enable_prefix_caching": "no"},
        {"distributed_executor_backend": WORKER_INSIDE},
        {"compilation_config": {"cudagraph_mode": "none", "mode": 0}},
        {"optimization_level": 1},
        {"served_model_name": ["heron", "tern"]},
        {"hf_overrides": {"rope_theta": 10000.0}},
        {"structured_outputs_config": {"backend": "xgrammar"}},
        {"seed": 7.0},
    ],
    ids=str,
)
def test_what_vllm_takes_is_taken_in_its_own_type(tiny_model: Path, options: dict[str, Any]):
    job = vllm_job(tiny_model, options=options)
    check_engine(job)
    values = vllm_options(job)
    assert vllm_fault(tiny_model, {name: values[name] for name in options}) == ""


def test_numbers_that_are_written_as_text_count_as_numbers_everywhere():
    written = {"max_model_len": "2k", "max_num_seqs": "64", "trust_remote_code": "no"}
    job = with_option_values(vllm_job("model", options=written))
    model = ModelSpec.of(job)
    assert (model.context, model.trust_remote_code) == (2000, False)
    assert max_concurrent_batches(job) == max_concurrent_batches(
        vllm_job("model", options={"max_num_seqs": 64})
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "bf16"}, r"dtype: 'bf16' is not one of auto, half, .*mean 'bfloat16'\?"),
        ({"quantization": "fp9"}, r"quantization: 'fp9' is not one of awq, .*mean 'fp8'\?"),
        ({"max_model_len": "many"}, "'many' is not a whole number.* 16384, 16k or auto"),
        ({"max_model_len": 2.5}, "max_model_len: 2.5 is not a whole number"),
        ({"gpu_memory_utilization": 1.7}, "1.7 is not a number above 0 and at most 1"),
        ({"max_num_seqs": True}, "max_num_seqs: true is not a whole number at least 1"),
        ({"max_num_seqs": 0}, "max_num_seqs: 0 is not a whole number at least 1"),
        ({"enforce_eager": "perhaps"}, "enforce_eager: 'perhaps' is not true or false"),
        ({"tokenizer_revision": 12}, "tokenizer_revision: 12 is not text or null"),
        ({"optimization_level": 9}, "optimization_level: 9 is not one of 0, 1, 2, 3"),
        ({"compilation_config": {"mood": 1}}, r"compilation_config.mood: unknown; did you mean"),
        ({"compilation_config": 3}, "compilation_config: 3 is not a mapping"),
        (
            {"structured_outputs_config": {"backend": "xgramar"}},
            r"structured_outputs_config.backend: 'xgramar' .*did you mean 'xgrammar'\?",
        ),
        ({"cudagraph_capture_sizes": [1, "two"]}, r"capture_sizes.1: 'two' is not a whole number"),
    ],
)
def test_a_refusal_names_the_choices_or_the_type(options: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message) as caught:
        check_engine(vllm_job("model", options=options))
    assert str(caught.value).startswith("engine.options.")
    assert "\n" not in str(caught.value)


def test_reserved_options_are_known_ones():
    assert set(RESERVED) - option_names() == set()


def test_nothing_of_vllm_is_imported():
    code = (
        "import sys; from pipeline.engines import check_engine\n"
        "from tests.support.jobs import vllm_job\n"
        "check_engine(vllm_job('m', options={'dtype': 'half', 'quantization': 'fp8'}))\n"
        "assert not {'vllm', 'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])
