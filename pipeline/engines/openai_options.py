"""The options of an OpenAI endpoint in the job file, checked without importing its client."""

import json
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from pipeline.config.schema import Job, Sampling, Section
from pipeline.core.errors import ConfigError, nearest
from pipeline.core.redaction import redacted_values

NEW_LIMIT: Literal["max_completion_tokens"] = "max_completion_tokens"

_ELSEWHERE = {
    **{name: f"set sampling.{name}" for name in Sampling.model_fields},
    NEW_LIMIT: "set sampling.max_tokens, and engine.options.token_limit if need be",
    "chat_template_kwargs": "set engine.chat_template_kwargs",
    "model": "set engine.model",
    "response_format": "set engine.options.response_format",
    **dict.fromkeys(("messages", "prompt"), "the prompt comes from the record"),
    **dict.fromkeys(("n", "stream", "stream_options"), "the engine decides it; leave it out"),
}
"""What `extra_body` may not hold, and what to do instead."""


class ResponseFormat(Section):
    """As in OpenAI's protocol."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: dict[str, Any] | None = None  # name and schema

    @property
    def is_whole(self) -> bool:
        """Whether there is a named schema if, and only if, one is needed."""
        if self.type != "json_schema":
            return self.json_schema is None
        schema = self.json_schema or {}
        return isinstance(schema.get("name"), str) and isinstance(schema.get("schema"), dict)


class Endpoint(Section):
    """`engine.options` of kind openai."""

    base_url: str | Annotated[list[str], Field(min_length=1)] | None = None  # or several
    concurrency: int = Field(default=64, gt=0)
    max_retries: int = Field(default=8, ge=0)
    timeout: float = Field(default=600, gt=0)
    token_limit: Literal["auto", "max_tokens", "max_completion_tokens"] = "auto"  # noqa: S105  its name
    response_format: ResponseFormat | None = None
    extra_body: dict[str, Any] = Field(default={})  # more fields of a request's body

    @property
    def base_urls(self) -> list[str]:
        """Each endpoint once; none if the environment names it."""
        urls = [self.base_url] if isinstance(self.base_url, str) else self.base_url or []
        return list(dict.fromkeys(urls))

    @property
    def body(self) -> dict[str, Any]:
        """Fields of a request's body that change what is said."""
        format_ = self.response_format
        shape = {"response_format": format_.model_dump(exclude_none=True)} if format_ else {}
        return {**self.extra_body, **shape}


def endpoint_of(job: Job) -> Endpoint:
    """Raises `ConfigError` for an unknown option or a bad value."""
    options = job.engine.options
    for name in options:
        if name not in Endpoint.model_fields:
            known = nearest(name, Endpoint.model_fields)
            raise ConfigError(f"engine.options.{name}: no option of the openai engine{known}")
    try:
        endpoint = Endpoint.model_validate(options)
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(map(str, fault["loc"]))
        raise ConfigError(f"engine.options.{place}: {fault['msg']}") from error
    _check_body(endpoint)
    return endpoint


def _check_body(endpoint: Endpoint) -> None:
    if endpoint.response_format and not endpoint.response_format.is_whole:
        raise ConfigError(
            "engine.options.response_format: type json_schema needs json_schema with a name and a "
            "schema, and no other type has one"
        )
    for name in endpoint.extra_body:
        if name in _ELSEWHERE:
            raise ConfigError(f"engine.options.extra_body.{name}: {_ELSEWHERE[name]}")
    if redacted_values(endpoint.extra_body) != endpoint.extra_body:
        raise ConfigError(
            "engine.options.extra_body: holds a secret, which would be stored with the answers; an "
            "endpoint's key is read from OPENAI_API_KEY"
        )
    try:
        json.dumps(endpoint.extra_body, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"engine.options.extra_body: cannot be sent as JSON: {error}") from error
