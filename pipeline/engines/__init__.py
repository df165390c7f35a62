"""What answers prompts: one file a kind, all of one shape."""

from collections.abc import Callable
from typing import Any, Protocol

from pipeline.config import Job
from pipeline.engines.extractive import ExtractiveEngine
from pipeline.engines.recorded import RecordedEngine
from pipeline.errors import ConfigError
from pipeline.model import Completion, Prompt, Record


class Engine(Protocol):
    """Prompt in; text, finish reason and token counts out.

    `version` changes when the same prompt would be answered by another code.
    """

    kind: str
    version: str

    def generate(self, prompt: Prompt) -> Completion: ...


def check_engine(job: Job) -> None:
    """Raises `ConfigError` for options that the engine does not have."""
    for name in job.engine.options:
        raise ConfigError(f"engine.options.{name}: the {job.engine.kind} engine has no options")


def open_engine(job: Job) -> Engine:
    """The engine that a job names, ready to answer."""
    match job.engine.kind:
        case "extractive":
            return ExtractiveEngine(job.answer.max_words)
        case "recorded":
            return RecordedEngine()


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
    shared = {
        "model": model,
        "model_revision": revision,
        "sampling": sampling_of(job),
        "decoding": job.answer.decoding,
    }
    if job.engine.kind == "recorded":
        return lambda record: {**shared, "recorded_answer": record.recorded_answer}
    return lambda _: shared
