"""Which options `tune` tries: what a job, a device and a sample leave of the table, and why."""

from typing import Any

import pytest

from pipeline.config.schema import Job
from pipeline.engines.tunable import (
    TUNABLES,
    Device,
    Situation,
    effect_of,
    values_of,
)
from pipeline.engines.vllm_options import check_vllm, option_names
from tests.support.jobs import vllm_job

CPU = Device("a processor, 2 cores", is_cpu=True)
ADA, AMPERE = Device("L40S", False, 89), Device("A100", False, 80)
IN_FORCE = {
    "max_num_seqs": 256,
    "max_num_batched_tokens": 8192,
    "gpu_memory_utilization": 0.92,
    "max_cudagraph_capture_size": 512,
    "kv_cache_dtype": "auto",
    "block_size": 16,
}


def found(
    job: Job, device: Device = ADA, records: int = 4096, in_force: dict[str, Any] = IN_FORCE
) -> dict[str, Any]:
    """The values of every tunable, by its name for people, or why it has none."""
    at = Situation(job, device, records, in_force)
    return {tunable.said: values_of(tunable, at) for tunable in TUNABLES}


def plain(**options: Any) -> Job:
    job = vllm_job("model")
    engine = job.engine.model_copy(update={"options": options})
    return job.model_copy(update={"engine": engine})


def test_every_tunable_is_an_option_of_the_installed_vllm_and_every_value_one_that_it_takes():
    assert {tunable.option for tunable in TUNABLES} <= option_names()
    for device in (CPU, ADA):
        at = Situation(plain(), device, 4096, IN_FORCE)
        for tunable in TUNABLES:
            values = values_of(tunable, at)
            for value in values if isinstance(values, list) else ():
                check_vllm(plain(**{tunable.option: value}))


def test_numbers_are_doubled_and_halved_but_no_further_than_a_sample_can_tell():
    assert found(plain())["sequences"] == [32, 64, 128, 512, 1024, 2048]
    assert found(plain(), records=1100)["sequences"] == [32, 64, 128, 512]
    assert found(plain())["batched tokens"] == [1024, 2048, 4096, 16384, 32768, 65536]


def test_a_sample_that_tells_no_numbers_apart_is_said_so():
    assert "--records" in found(plain(), records=16)["sequences"]


def test_a_processor_has_no_graphs_and_no_share_of_its_own():
    values = found(plain(), CPU)
    assert "no CUDA graphs" in values["CUDA graph sizes"]
    assert "shares its memory" in values["memory share"]
    assert values["cache block"] == [32, 64, 128]


@pytest.mark.parametrize(("device", "is_tried"), [(CPU, True), (ADA, True), (AMPERE, False)])
def test_an_fp8_cache_is_tried_where_the_device_computes_with_it(device: Device, is_tried: bool):
    assert (found(plain(), device)["KV cache type"] == ["fp8"]) is is_tried


def test_what_the_job_rules_out_is_left_out_with_the_option_that_does():
    values = found(plain(enforce_eager=True, kv_cache_memory_bytes=2**30))
    assert "enforce_eager" in values["CUDA graph sizes"]
    assert "kv_cache_memory_bytes" in values["memory share"]


def test_speculation_of_the_jobs_own_is_left_as_it_is_or_turned_off():
    values = found(plain(speculative_config={"method": "ngram", "num_speculative_tokens": 2}))
    assert values["n-gram speculation"] == "the job has its own"
    assert values["no speculation"] == [None]


def test_an_option_of_the_generation_key_is_left_out():
    job = plain()
    engine = job.engine.model_copy(update={"generation_options": ["kv_cache_dtype"]})
    values = found(job.model_copy(update={"engine": engine}))
    assert "stale" in values["KV cache type"]


def test_without_a_start_of_the_jobs_own_settings_only_what_needs_no_number_is_tried():
    tried = {said for said, v in found(plain(), in_force={}).items() if isinstance(v, list)}
    assert tried == {"memory share", "KV cache type", "n-gram speculation"} - {
        said for said, v in found(plain(), in_force={}).items() if isinstance(v, str)
    }


@pytest.mark.parametrize(("temperature", "effect"), [(0.0, "answers"), (0.7, "sampling")])
def test_speculation_is_compared_by_its_answers_only_where_nothing_is_sampled(
    temperature: float, effect: str
):
    job = vllm_job("model", sampling={"temperature": temperature})
    effects = {tunable.said: effect_of(tunable, job) for tunable in TUNABLES}
    assert effects["n-gram speculation"] == effect
    assert effects["KV cache type"] == "answers"
    assert effects["sequences"] == "none"
