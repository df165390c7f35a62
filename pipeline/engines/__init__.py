"""Engines answer prompts: one file a kind, each with the interface in `engine.py`."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from hashlib import blake2b
from math import ceil
from typing import Any

from pipeline.config.schema import EngineConfig, Job
from pipeline.core.errors import ConfigError, nearest
from pipeline.core.records import Message, Record
from pipeline.engines.batch_lines import sampling_with
from pipeline.engines.chat_template import CHAT_TEMPLATE, check_chat_template, template_of
from pipeline.engines.engine import Engine, judging_sampling
from pipeline.engines.openai_options import Endpoint, endpoint_of
from pipeline.engines.pacing import Pacing, Unpaced
from pipeline.engines.recorded import RecordedEngine
from pipeline.engines.vllm_options import check_vllm, option_names
from pipeline.formats import format_of
from pipeline.formats.base import WritableFormat
from pipeline.formats.frame import FRAME

LARGEST_BATCH = 1024
"""Sequences of vLLM's batch where the job does not say; a driver without a GPU cannot look."""

BATCHES_WITHIN_REACH = 8
"""Records handed to an engine, in multiples of its batch, so that the slow tail of some overlaps
the others. A batch of records keeps its place until its longest answer has ended: where models
think, that takes five times as long as the mean, and most records have long been done."""

BATCHES_AT_LEAST = 5
"""The same for the small batches at the end of a run."""


def check_engine(job: Job) -> None:
    """Raises `ConfigError` for settings that the job's engine does not have."""
    engine = job.engine
    if engine.placement == "packed" and not engine.replicas.is_fixed:
        raise ConfigError(
            "engine.placement: packed replicas are placed all at once; set engine.replicas to a "
            "single number"
        )
    if engine.generates and not engine.model:
        raise ConfigError(f"engine.model: missing; engine.kind {engine.kind} needs a model")
    if job.judge and not engine.generates:
        raise ConfigError(
            f"judge: needs a model that judges; the {engine.kind} engine has none: set engine.kind "
            "vllm or openai, or leave judge out"
        )
    _check_model_settings(engine)
    check_chat_template(job)
    match engine.kind:
        case "vllm":
            check_vllm(job)
            check_generation_options(engine, option_names())
            return
        case "openai":
            endpoint_of(job)
            check_generation_options(engine, Endpoint.model_fields)
        case _:
            for name in (*engine.options, *engine.generation_options):
                raise ConfigError(f"engine.options.{name}: the {engine.kind} engine has no options")
    _check_format(job)
    if job.input.overflow != "reject":
        raise ConfigError(
            f"input.overflow: {job.input.overflow} needs an engine that counts tokens: "
            "engine.kind vllm"
        )


def _check_format(job: Job) -> None:
    kind, has_schema = job.engine.kind, job.answer.schema_ is not None
    if job.answer.decoding == "enforced" and not (kind == "openai" and has_schema):
        raise ConfigError(
            "answer.decoding: enforced needs engine.kind vllm, or openai with answer.schema"
        )
    if kind == "extractive":
        _writable(job)


def _writable(job: Job) -> WritableFormat:
    format_ = format_of(job.answer)
    if not isinstance(format_, WritableFormat):
        raise ConfigError("answer.schema: the extractive engine writes no documents")
    return format_


def _check_model_settings(engine: EngineConfig) -> None:
    if engine.kind != "openai" and (limits := engine.limits.model_dump(exclude_none=True)):
        raise ConfigError(
            f"engine.limits.{next(iter(limits))}: an endpoint has limits; the {engine.kind} engine "
            "has none: leave it out, or set engine.kind openai"
        )
    if engine.adapter and engine.kind != "vllm":
        raise ConfigError("engine.adapter: needs engine.kind vllm")
    if engine.confidence and engine.kind != "vllm":
        raise ConfigError("engine.confidence: needs engine.kind vllm")
    if engine.chat_template_kwargs and not engine.generates:
        raise ConfigError(
            f"engine.chat_template_kwargs: the {engine.kind} engine has no chat template"
        )
    if engine.reasoning not in ("auto", "off") and engine.kind != "vllm":
        raise ConfigError(
            f"engine.reasoning: {engine.reasoning}: a parser needs engine.kind vllm; with "
            f"{engine.kind}, auto splits by the marks in the text, off leaves it whole"
        )


def open_engine(job: Job, sample: Sequence[Message] = (), pacing: Pacing = Unpaced) -> Engine:
    """The job's engine, ready to answer; slow imports happen here, only for the kind in use.

    `sample` is a prompt with the roles of all the job's prompts, if they all have the same;
    `pacing` keeps the limits of endpoints. Raises `EngineError` if the model cannot be loaded.
    """
    match job.engine.kind:
        case "extractive":
            from pipeline.engines.extractive import ExtractiveEngine

            return ExtractiveEngine(job.answer.max_words, _writable(job))
        case "recorded":
            return RecordedEngine()
        case "vllm":
            from pipeline.engines.vllm import VllmEngine

            return VllmEngine(job, sample)
        case "openai":
            from pipeline.engines.openai import OpenAIEngine

            return OpenAIEngine(job, pacing)


def check_endpoint(job: Job) -> str:
    """A line about each of a job's endpoints; `EngineError` if one does not have the model."""
    from pipeline.engines.openai_clients import check_models

    return asyncio.run(check_models(job))


def most_attempts(job: Job) -> int:
    """Attempts worth making: an engine without a model answers the same every time."""
    return job.attempts if job.engine.generates else 1


def shares_generations(job: Job) -> bool:
    """Whether equal prompts are generated once; an engine without a model has nothing to save."""
    return job.engine.generates and job.engine.equal_prompts == "once"


def max_concurrent_batches(job: Job) -> int:
    """Batches of records that an engine works on at a time."""
    if not job.engine.generates:
        return 2  # one is answered while the other is stored
    return 1 + ceil(BATCHES_WITHIN_REACH * sequences_of(job) / job.rows_per_file)


def least_rows(job: Job) -> int:
    """Rows of a batch of records, so that as many as an engine works on keep its own batch full."""
    least = ceil(BATCHES_AT_LEAST * sequences_of(job) / (max_concurrent_batches(job) + 1))
    return min(least, job.rows_per_file)


def sequences_of(job: Job) -> int:
    """Requests that an engine of a model works on at a time."""
    if job.engine.kind == "openai":
        return endpoint_of(job).concurrency
    return job.engine.options.get("max_num_seqs") or LARGEST_BATCH


def check_generation_options(engine: EngineConfig, known: Collection[str]) -> None:
    """Raises `ConfigError` for names that are no options of the engine."""
    for name in engine.generation_options:
        if name not in known:
            raise ConfigError(
                f"engine.generation_options: {name!r} is no option of the {engine.kind} engine"
                f"{nearest(name, known)}"
            )


def model_of(job: Job) -> tuple[str, str | None]:
    """Model and revision stored with a job's answers; for engines without a model, the kind."""
    return job.engine.model or job.engine.kind, job.engine.revision


def sampling_of(job: Job) -> dict[str, Any]:
    """The sampling parameters that the job sets; for `extractive`, what its answers depend on."""
    sampling = job.sampling.model_dump(exclude_none=True)
    if job.engine.kind == "extractive":
        sampling["max_words"] = job.answer.max_words
    return sampling


def settings_of(job: Job) -> dict[str, Any]:
    """What else a completion depends on: its decoding, and what the job sets of the others.

    A setting that is at its default has no entry, so that keys made before it existed stand.
    """
    engine, options = job.engine, job.engine.options
    enforced = job.answer.decoding == "enforced"
    template = template_of(job) if engine.kind == "vllm" else None
    body = endpoint_of(job).body if engine.kind == "openai" else {}
    format_ = format_of(job.answer) if enforced or engine.kind == "extractive" else FRAME
    named = sorted(set(engine.generation_options) & set(options) - {CHAT_TEMPLATE})
    others = {
        "chat_template": template and blake2b(template.encode(), digest_size=16).hexdigest(),
        "chat_template_kwargs": engine.chat_template_kwargs,
        "extra_body": body,
        "options": {name: _as_keyed(name, options[name]) for name in named},
        "reasoning": None if engine.reasoning == "auto" else engine.reasoning,
        "answer_format": format_.identity,
    }
    return {
        "decoding": f"enforced:{job.answer.max_words}" if enforced else "free",
        **{name: value for name, value in others.items() if value},
    }


def _as_keyed(name: str, value: Any) -> Any:
    """An option's value in a generation key: a list of one endpoint equals its address."""
    is_single = name == "base_url" and isinstance(value, list) and len(value) == 1
    return value[0] if is_single else value


def judging_identity(job: Job) -> dict[str, Any]:
    """What a verdict depends on besides the conversation and its last turn."""
    model, revision = model_of(job)
    unused = ("decoding", "answer_format", "reasoning")  # a verdict has a format of its own
    settings = {name: v for name, v in settings_of(job).items() if name not in unused}
    return {
        "model": model,
        "model_revision": revision,
        "adapter": job.engine.adapter,
        "choices": list(job.judge.choices) if job.judge else [],
        "sampling": judging_sampling(job),
        **settings,
    }


def generation_identity(job: Job) -> Callable[[Record], dict[str, Any]]:
    """What a record's completion depends on besides its messages; part of the generation key."""
    model, revision = model_of(job)
    sampling = sampling_of(job)
    shared = {
        "model": model,
        "model_revision": revision,
        "sampling": sampling,
        **({"adapter": job.engine.adapter} if job.engine.adapter else {}),
        **settings_of(job),
    }
    is_recorded = job.engine.kind == "recorded"

    def identity(record: Record) -> dict[str, Any]:
        own = {"sampling": sampling_with(sampling, record)} if record.batch else {}
        recorded = {"recorded_answer": record.recorded_answer} if is_recorded else {}
        return {**shared, **own, **recorded} if own or recorded else shared

    return identity
