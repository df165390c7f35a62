"""What answers prompts: one file a kind, all of the shape that `engine.py` gives."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from pipeline.config.schema import Job
from pipeline.core.errors import ConfigError
from pipeline.core.records import Message, Record
from pipeline.engines.engine import Engine
from pipeline.engines.openai_options import check_openai, endpoint_of
from pipeline.engines.recorded import RecordedEngine
from pipeline.engines.vllm_options import check_vllm

LARGEST_BATCH = 1024
"""Of vLLM, where the job does not say and no GPU is at hand to be asked."""

BATCHES_WITHIN_REACH = 2
"""Of records that an engine is handed at a time, so that the next ones are there when one is
finished, and the slow tail of a table overlaps the next."""


def check_engine(job: Job) -> None:
    """Raises `ConfigError` for what the job asks of its engine and the engine does not have."""
    engine = job.engine
    if engine.placement == "packed" and not engine.replicas.is_fixed:
        raise ConfigError(
            "engine.placement: packed replicas have their places found together; engine.replicas "
            "is then one number"
        )
    if engine.generates and not engine.model:
        raise ConfigError(f"engine.model: missing; engine.kind {engine.kind} needs a model")
    match engine.kind:
        case "vllm":
            check_vllm(job)
            return
        case "openai":
            check_openai(job)
        case _:
            for name in engine.options:
                raise ConfigError(f"engine.options.{name}: the {engine.kind} engine has no options")
    if job.answer.decoding != "free":
        raise ConfigError(f"answer.decoding: {job.answer.decoding} needs engine.kind vllm")
    if job.input.overflow != "reject":
        raise ConfigError(
            f"input.overflow: {job.input.overflow} needs an engine that counts tokens: "
            "engine.kind vllm"
        )


def open_engine(job: Job, sample: Sequence[Message] = ()) -> Engine:
    """The engine that a job names, ready to answer.

    `sample` is a prompt in the shape that the job's template gives all of them, if it does.
    Raises `EngineError` where its model cannot be loaded. What takes long to import is
    imported here, by those who use it.
    """
    match job.engine.kind:
        case "extractive":
            from pipeline.engines.extractive import ExtractiveEngine

            return ExtractiveEngine(job.answer.max_words)
        case "recorded":
            return RecordedEngine()
        case "vllm":
            from pipeline.engines.vllm import VllmEngine

            return VllmEngine(job, sample)
        case "openai":
            from pipeline.engines.openai import OpenAIEngine

            return OpenAIEngine(job)


def endpoint_says(job: Job) -> str:
    """What the endpoint of a job of kind openai says of its model; `EngineError` if it does not."""
    from pipeline.engines.openai import OpenAIEngine

    return asyncio.run(OpenAIEngine(job).greet())


def most_attempts(job: Job) -> int:
    """Attempts that make sense: an engine that quotes says the same every time."""
    return job.attempts if job.engine.generates else 1


def max_concurrent_batches(job: Job) -> int:
    """How many tables of records an engine works on at the same time."""
    match job.engine.kind:
        case "vllm":
            batch = job.engine.options.get("max_num_seqs") or LARGEST_BATCH
        case "openai":
            batch = endpoint_of(job).concurrency
        case _:
            return 1
    return 1 + -(-BATCHES_WITHIN_REACH * batch // job.rows_per_file)


def model_of(job: Job) -> tuple[str, str | None]:
    """Model and revision under which a job's answers are stored; without a model, the engine's."""
    return job.engine.model or job.engine.kind, job.engine.revision


def sampling_of(job: Job) -> dict[str, Any]:
    """The sampling parameters that the job sets; for `extractive`, what its answers depend on."""
    given = job.sampling.model_dump(exclude_none=True)
    if job.engine.kind == "extractive":
        given["max_words"] = job.answer.max_words
    return given


def generation_identity(job: Job) -> Callable[[Record], dict[str, Any]]:
    """What a completion depends on besides its messages, record by record.

    The generation key covers all of it.
    """
    model, revision = model_of(job)
    enforced = job.answer.decoding == "enforced"
    shared = {
        "model": model,
        "model_revision": revision,
        "sampling": sampling_of(job),
        "decoding": f"enforced:{job.answer.max_words}" if enforced else "free",
    }
    if job.engine.kind == "recorded":
        return lambda record: {**shared, "recorded_answer": record.recorded_answer}
    return lambda _: shared
