"""The options of an OpenAI endpoint in the job file, checked without importing its client."""

from pydantic import Field, ValidationError

from pipeline.config.schema import Job, Section
from pipeline.core.errors import ConfigError, nearest


class Endpoint(Section):
    """`engine.options` of kind openai."""

    base_url: str | None = None
    concurrency: int = Field(default=64, gt=0)
    max_retries: int = Field(default=8, ge=0)
    timeout: float = Field(default=600, gt=0)


def endpoint_of(job: Job) -> Endpoint:
    """Raises `ConfigError` for an unknown option or a bad value."""
    options = job.engine.options
    for name in options:
        if name not in Endpoint.model_fields:
            known = nearest(name, Endpoint.model_fields)
            raise ConfigError(f"engine.options.{name}: no option of the openai engine{known}")
    try:
        return Endpoint.model_validate(options)
    except ValidationError as error:
        fault = error.errors()[0]
        raise ConfigError(f"engine.options.{fault['loc'][0]}: {fault['msg']}") from error
