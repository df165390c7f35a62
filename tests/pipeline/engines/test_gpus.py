"""What vLLM is told of a replica's GPUs, and what a job may not ask for; no GPU is needed."""

from math import prod
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.schema import EngineConfig
from pipeline.core.errors import ConfigError
from pipeline.engines import check_engine
from pipeline.engines.model_files import ModelSpec
from pipeline.engines.parallelism import describe_gpus, parallel_arguments
from pipeline.engines.tokenizer import load_encoder
from tests.support.jobs import SMALL_ENGINE, vllm_job

OWN = ("max_num_seqs", "max_num_batched_tokens", "distributed_executor_backend")
UNSET = dict.fromkeys(OWN)
"""Options that leave to vLLM what tests usually set."""

sizes = st.integers(1, 8)


def engine(gpus: int | None = None, **options: Any) -> EngineConfig:
    return EngineConfig(kind="vllm", model="m", gpus_per_replica=gpus, options=options)


def check(gpus: int | None = 1, **sections: Any) -> None:
    options = {**UNSET, **sections.pop("options", {})}
    whole = {"gpus_per_replica": gpus, **sections}
    check_engine(vllm_job("model", engine=whole, options=options))


@given(tensor=sizes, pipeline=sizes, context=sizes)
def test_the_gpus_of_a_replica_are_the_product_of_what_vllm_divides_a_model_by(
    tensor, pipeline, context
):
    options = {"pipeline_parallel_size": pipeline, "prefill_context_parallel_size": context}
    whole = engine(tensor * pipeline * context, **options)
    asked = {**parallel_arguments(whole), **options}
    assert prod(v for name, v in asked.items() if name.endswith("parallel_size")) == whole.gpus
    assert engine(**options).gpus == pipeline * context  # where the job does not say


@given(gpus=st.integers(1, 16), pipeline=st.integers(1, 16))
def test_stages_that_do_not_divide_the_gpus_are_refused_before_anything_starts(gpus, pipeline):
    options = {"pipeline_parallel_size": pipeline}
    if gpus % pipeline:
        with pytest.raises(ConfigError, match=f"{gpus} is not a multiple"):
            check(gpus, options=options)
    else:
        check(gpus, options=options)


def test_one_gpu_needs_no_arguments_and_several_stay_on_the_node():
    assert parallel_arguments(engine()) == {}
    several = {"tensor_parallel_size": 4, "distributed_executor_backend": "mp"}
    assert parallel_arguments(engine(4)) == several


def of_data_parallel() -> list[str]:
    from pipeline.engines.vllm_options import option_names

    return sorted(name for name in option_names() if name.startswith("data_parallel_"))


@pytest.mark.parametrize("name", of_data_parallel())
def test_copies_within_a_replica_are_refused_and_replicas_are_named_instead(name):
    with pytest.raises(ConfigError, match=rf"engine.options.{name}: .* set engine.replicas to"):
        check(options={name: 1})


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"options": {"nnodes": 2}}, "options.nnodes: .*set .*_executor_backend: ray"),
        (
            {"gpus": 0, "options": {"pipeline_parallel_size": 2}},
            "engine.options: pipeline_parallel_size needs GPUs, .*CPU build does not divide",
        ),
        ({"options": {"pipeline_parallel_size": 0}}, "pipeline_parallel_size: 0 is not a number"),
        ({"options": {"pipeline_parallel_size": "two"}}, "'two' is not a number of GPUs"),
        (
            {"options": {"distributed_executor_backend": "external_launcher"}},
            "external_launcher is for .*use mp within a node",
        ),
        (
            {"gpus": 2, "options": {"distributed_executor_backend": "uni"}},
            "uni has one GPU, the replica 2; leave it out",
        ),
        (
            {"gpus": 0, "options": {"distributed_executor_backend": "ray"}},
            "ray needs GPUs, .*leave it out",
        ),
        (
            {"placement": "packed", "options": {"distributed_executor_backend": "ray"}},
            "engine.placement: .*leave engine.placement out",
        ),
        (
            {
                "replicas": {"min": 1, "max": 2},
                "options": {"distributed_executor_backend": "ray"},
            },
            "engine.replicas: .*set a single number",
        ),
    ],
)
def test_what_cannot_be_placed_is_refused_with_the_way_out(sections, message):
    with pytest.raises(ConfigError, match=message):
        check(**sections)


def test_all_gpus_of_a_job_are_said_in_one_line():
    assert describe_gpus(engine()) == "GPUs: 1 (1 for each of 1)"
    pool = {"min": 2, "max": 3}
    whole = engine(8, pipeline_parallel_size=2).model_copy(
        update={"replicas": EngineConfig(replicas=pool).replicas}
    )
    assert describe_gpus(whole) == "GPUs: 16 to 24 (8 for each of 2 to 3: tensor 4 × pipeline 2)"
    assert describe_gpus(EngineConfig()) == "no GPUs"


class StandInPlatform:
    """A GPU by its name and memory, in front of the platform that is here."""

    def __init__(self, name: str, gib: int) -> None:
        from vllm.platforms import current_platform

        self._here, self._name, self._bytes = current_platform, name, gib * 2**30

    def get_device_name(self) -> str:
        return self._name

    def get_device_total_memory(self) -> int:
        return self._bytes

    def is_cpu(self) -> bool:
        return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._here, name)


class Configured:
    """Stands in for vLLM's engine: it makes the configuration and loads no model."""

    def __init__(self, vllm_config: Any) -> None:
        self.vllm_config, self.model_config = vllm_config, vllm_config.model_config

    @classmethod
    def from_engine_args(cls, arguments: Any, **context: Any) -> "Configured":
        return cls(arguments.create_engine_config(**context))


@pytest.mark.parametrize(
    ("name", "gib", "batch"),
    [
        ("NVIDIA A100-SXM4-80GB", 80, (256, 8192)),
        ("NVIDIA H100 80GB HBM3", 80, (1024, 16384)),
        ("NVIDIA H200", 141, (1024, 16384)),
        ("NVIDIA B200", 180, (1024, 16384)),
        ("NVIDIA L4", 23, (256, 8192)),
    ],
)
def test_a_batch_is_that_of_vllms_offline_class_on_the_same_gpu(
    name, gib, batch, tiny_model: Path, monkeypatch
):
    from vllm.engine import arg_utils

    from pipeline.engines import vllm

    monkeypatch.setattr(arg_utils, "current_platform", StandInPlatform(name, gib))
    monkeypatch.setattr(vllm, "AsyncLLM", Configured)
    small = {name: SMALL_ENGINE[name] for name in ("dtype", "enforce_eager")}
    job = vllm_job(tiny_model)
    options = job.engine.model_copy(update={"options": small})
    job = job.model_copy(update={"engine": options})
    process = vllm.VllmProcess(job, load_encoder(ModelSpec.of(job)))
    process.start()
    scheduler = process._llm.vllm_config.scheduler_config
    assert (scheduler.max_num_seqs, scheduler.max_num_batched_tokens) == batch
