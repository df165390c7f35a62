"""Clients of OpenAI's protocol for the endpoints of a job, and how they tell a rate limit."""

import os
from typing import Any

import openai

from pipeline.config.schema import Job
from pipeline.core.errors import EngineError, describe, nearest
from pipeline.core.redaction import redacted
from pipeline.engines.openai_options import endpoint_of

KEY = "OPENAI_API_KEY"

RETRIES_BEFORE_OTHERS = 2
"""Where there are several endpoints, a request goes to another one after so many retries."""

_SPENT = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"}
"""Codes of a 429 that no waiting ends: the account has no credit."""


def clients_of(job: Job) -> dict[str, openai.AsyncOpenAI]:
    """A client for each endpoint, by its address; raises `EngineError` if there is no key."""
    endpoint = endpoint_of(job)
    urls: list[str | None] = [*endpoint.base_urls] or [None]
    key = os.environ.get(KEY) or ("none" if urls[0] or os.environ.get("OPENAI_BASE_URL") else "")
    if not key:
        raise EngineError(f"engine.kind: openai: {KEY} is not set in the environment here")
    retries = endpoint.max_retries
    clients = [
        openai.AsyncOpenAI(
            api_key=key,
            base_url=url,
            max_retries=retries if len(urls) == 1 else min(retries, RETRIES_BEFORE_OTHERS),
            timeout=endpoint.timeout,
            http_client=openai.DefaultAsyncHttpxClient(event_hooks={"response": [_keep_refusal]}),
        )
        for url in urls
    ]
    return {str(client.base_url): client for client in clients}


async def check_models(job: Job) -> str:
    """A line about each endpoint and its model; `EngineError` if one does not have the model."""
    model = job.engine.model or ""
    return "; ".join([await _check_model(model, *client) for client in clients_of(job).items()])


async def _check_model(model: str, address: str, client: openai.AsyncOpenAI) -> str:
    try:
        models = [found.id async for found in client.models.list()]
    except openai.NotFoundError:
        return f"{named(address)} lists no models"
    except openai.APIError as error:
        raise EngineError(f"{named(address)}: {describe(error)}") from error
    if model not in models:
        known = nearest(model, models)
        raise EngineError(f"engine.model: {model} is not at {named(address)}{known}")
    return f"{named(address)} has {model}"


def named(address: str) -> str:
    """An address as a message may show it."""
    return redacted(address)


def is_refusal(error: BaseException) -> bool:
    """Whether an endpoint refused a request for its rate, so that it may go later."""
    return (
        isinstance(error, openai.APIStatusError)
        and _is_refused(error.response)
        and not is_spent(error)
    )


def is_spent(error: BaseException) -> bool:
    """Whether an account has no credit left, which endpoints say with 429, too."""
    return isinstance(error, openai.RateLimitError) and bool({error.code, error.type} & _SPENT)


def _is_refused(response: Any) -> bool:
    names = "retry-after", "retry-after-ms"
    waits = any(name in response.headers for name in names)
    return response.status_code == 429 or (response.status_code == 503 and waits)


async def _keep_refusal(response: Any) -> None:
    """Has the client retry no refusal: all replicas are to hear of it first. It obeys a header."""
    if _is_refused(response):
        response.headers["x-should-retry"] = "false"
