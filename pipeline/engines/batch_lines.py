"""What a job makes of the settings of a line of a batch file: obeyed, or a reject that says why."""

from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any

from pipeline.config.schema import Job
from pipeline.core.records import Fault, Record

SERVED = "served_model_name"
"""vLLM's option for the names by which requests call the model: a text, or a list."""


def line_check(job: Job) -> Callable[[Record], None]:
    """Raises `Fault` for a record whose line asks for what the job cannot do."""
    models, kind = model_names(job), job.engine.kind
    enforced = job.answer.decoding == "enforced"

    def check(record: Record) -> None:
        line = record.batch
        if line is None:
            return
        if line.model and models and line.model not in models:
            raise Fault(
                "unsupported", f"body.model: {line.model}; this job's model is {job.engine.model}"
            )
        if "response_format" in line.sampling and (enforced or kind == "extractive"):
            why = "answer.decoding is enforced" if enforced else "no model writes the answers"
            raise Fault("unsupported", f"body.response_format: {why}")
        if kind != "recorded" and not record.messages and record.question is None:
            raise Fault(
                "missing_field", "an answer without its question; engine.kind recorded checks it"
            )

    return check


def model_names(job: Job) -> frozenset[str]:
    """What requests may call the job's model: its name, the last part of it, what vLLM serves it
    as; empty for a job without a model, which takes any.
    """
    model, served = job.engine.model, job.engine.options.get(SERVED, ())
    if not model:
        return frozenset()
    aliases = [served] if isinstance(served, str) else served
    return frozenset((model, PurePosixPath(model).name, *aliases))


def sampling_with(sampling: Mapping[str, Any], record: Record) -> Mapping[str, Any]:
    """The job's sampling parameters under those of the record's own line."""
    return {**sampling, **record.batch.sampling} if record.batch else sampling
