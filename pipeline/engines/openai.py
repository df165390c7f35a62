"""Asks any endpoint that speaks OpenAI's protocol, through its official client.

The client retries what passes: 408, 409, 429 and 5xx, lost connections and timeouts, after what
`Retry-After` asks or longer and longer. What it gives up on is here told apart by whether others
were answered meanwhile.
"""

import asyncio
import os
import time
from typing import Any

import openai

from pipeline.config.schema import Job
from pipeline.core.errors import EngineError, describe, nearest
from pipeline.core.records import PLAIN, Completion, FinishReason
from pipeline.core.redaction import redacted
from pipeline.engines.engine import GenerationError, Request, varied
from pipeline.engines.openai_options import endpoint_of

KEY = "OPENAI_API_KEY"

_OWN_NAMES = {
    "temperature",
    "top_p",
    "max_tokens",
    "seed",
    "stop",
    "presence_penalty",
    "frequency_penalty",
}
"""Sampling parameters of the protocol itself; vLLM's others travel in the body's extra fields."""

_BAD_REQUESTS = (400, 413, 422)
"""What an endpoint says of a prompt that it cannot take: too long, or against its rules."""

_REASONS: dict[str, FinishReason] = {"stop": "stop", "length": "length", "content_filter": "abort"}


class OpenAIEngine:
    """As many requests at a time as `concurrency` allows; the key comes from the environment."""

    kind = "openai"
    version = openai.__version__

    def __init__(self, job: Job) -> None:
        endpoint = endpoint_of(job)
        own = endpoint.base_url or os.environ.get("OPENAI_BASE_URL")
        key = os.environ.get(KEY) or ("none" if own else "")
        if not key:
            raise EngineError(f"engine.kind: openai: {KEY} is not set in the environment here")
        self._client = openai.AsyncOpenAI(
            api_key=key,
            base_url=endpoint.base_url,
            max_retries=endpoint.max_retries,
            timeout=endpoint.timeout,
        )
        self._address = redacted(str(self._client.base_url))
        self._model = job.engine.model or ""
        self._sampling = job.sampling.model_dump(exclude_none=True)
        self._places = asyncio.Semaphore(endpoint.concurrency)
        self._last_answer = 0.0

    async def generate(self, request: Request) -> Completion:
        async with self._places:
            began = time.monotonic()
            try:
                reply = await self._ask(request)
            except openai.APIError as error:
                raise self._verdict(error, began) from error
            self._last_answer = time.monotonic()
        return _completion(reply, self._last_answer - began, self._limit(request) is None)

    async def _ask(self, request: Request) -> Any:
        chosen = varied(self._sampling, request)
        if limit := self._limit(request):
            chosen["max_tokens"] = limit
        own = {name: value for name, value in chosen.items() if name in _OWN_NAMES}
        extra = {name: value for name, value in chosen.items() if name not in _OWN_NAMES}
        if request.messages[0].role == PLAIN:
            text = "\n\n".join(message.content for message in request.messages)
            return await self._client.completions.create(
                model=self._model, prompt=text, extra_body=extra, **own
            )
        said: Any = [message._asdict() for message in request.messages]
        return await self._client.chat.completions.create(
            model=self._model, messages=said, extra_body=extra, **own
        )

    async def greet(self) -> str:
        """What the endpoint says of the model; `EngineError` where it does not know it."""
        try:
            listed = [model.id async for model in self._client.models.list()]
        except openai.NotFoundError:
            return f"{self._address} lists no models"
        except openai.APIError as error:
            raise EngineError(f"{self._address}: {describe(error)}") from error
        if self._model not in listed:
            known = nearest(self._model, listed)
            raise EngineError(f"engine.model: {self._model} is not at {self._address}{known}")
        return f"{self._address} has {self._model}"

    def _limit(self, request: Request) -> int | None:
        """The job's own limit; without one, what the endpoint allows."""
        limit = self._sampling.get("max_tokens")
        return limit * 2**request.lengthened if limit else None

    def _verdict(self, error: openai.APIError, began: float) -> Exception:
        """Whose fault it is that a request failed for good: the record's, or everyone's."""
        said = f"{self._address}: {describe(error)}"
        if isinstance(error, openai.RateLimitError):
            return EngineError(f"{said}; lower engine.options.concurrency, or run again later")
        if isinstance(error, openai.APIStatusError) and error.status_code in _BAD_REQUESTS:
            return GenerationError(said)
        passing = isinstance(error, openai.APIConnectionError | openai.InternalServerError)
        if passing and self._last_answer > began:
            return GenerationError(said)  # others were answered: it is this record
        return EngineError(said)


def _completion(reply: Any, seconds: float, unlimited: bool) -> Completion:
    (choice,) = reply.choices
    text = choice.text if hasattr(choice, "text") else choice.message.content
    usage = reply.usage
    details = getattr(usage, "prompt_tokens_details", None)
    reason = _REASONS.get(choice.finish_reason, "error")
    return Completion(
        text=text or "",
        finish_reason=reason,
        prompt_tokens=usage.prompt_tokens if usage else 0,
        cached_tokens=getattr(details, "cached_tokens", None) or 0,
        completion_tokens=usage.completion_tokens if usage else 0,
        seconds=seconds,
        context_full=reason == "length" and unlimited,
    )
