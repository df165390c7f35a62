"""Sends requests to an endpoint of OpenAI's protocol, through its official client.

The client retries temporary failures: 408, 409, 429 and 5xx, lost connections and timeouts, after
the time in `Retry-After` or with growing delays. When it gives up, this module decides whether the
record or the endpoint is at fault, by whether other records were answered meanwhile.
"""

import asyncio
import os
import re
import time
from typing import Any

import openai

from pipeline.config.schema import Answer, Job
from pipeline.core.errors import EngineError, describe, nearest
from pipeline.core.records import PLAIN, Completion, FinishReason
from pipeline.core.redaction import redacted
from pipeline.core.thoughts import as_text, is_thought, split_of, thought_of
from pipeline.engines.engine import GenerationError, Request, judging_sampling, sampling_for
from pipeline.engines.openai_options import NEW_LIMIT, endpoint_of
from pipeline.formats import format_of
from pipeline.formats.base import Schema

KEY = "OPENAI_API_KEY"

_STANDARD_PARAMETERS = {
    "temperature",
    "top_p",
    "max_tokens",
    "seed",
    "stop",
    "presence_penalty",
    "frequency_penalty",
}
"""Sampling parameters of the protocol; vLLM's others are sent as extra fields of the body."""

_SENT_AS = {"extra_args": "vllm_xargs"}
"""Parameters that vLLM's server knows by another name than its engine."""

_BAD_REQUESTS = (400, 413, 422)
"""Returned for a prompt that the endpoint does not accept: too long, or against its rules."""

_OF_ANOTHER_NAME = re.compile(
    rf"(?is)(?=.*{NEW_LIMIT})(?:.*\b(?:unsupported|not supported|unrecognized|instead)\b)"
)
"""The message of an endpoint that wants the token limit under its newer name."""

_REASONS: dict[str, FinishReason] = {"stop": "stop", "length": "length", "content_filter": "abort"}


class OpenAIEngine:
    """Keeps at most `concurrency` requests open; the API key comes from the environment."""

    kind = "openai"
    version = openai.__version__

    def __init__(self, job: Job) -> None:
        endpoint = endpoint_of(job)
        base_url = endpoint.base_url or os.environ.get("OPENAI_BASE_URL")
        key = os.environ.get(KEY) or ("none" if base_url else "")
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
        self._judging = judging_sampling(job)
        kwargs = job.engine.chat_template_kwargs
        self._template = {"chat_template_kwargs": kwargs} if kwargs else {}
        self._body = endpoint.body
        self._response_format = _response_format(job.answer)
        self._limit_name: str = endpoint.token_limit
        self._slots = asyncio.Semaphore(endpoint.concurrency)
        self._last_answer = 0.0

    async def generate(self, request: Request) -> Completion:
        async with self._slots:
            began = time.monotonic()
            try:
                response = await self._send(request)
            except openai.APIError as error:
                raise self._fault_of(error, began) from error
            self._last_answer = time.monotonic()
        return _completion(response, self._last_answer - began, self._limit(request) is None)

    async def _send(self, request: Request) -> Any:
        """Sends a request, and once more if the endpoint wants the token limit by another name."""
        limit_name = self._limit_name
        try:
            return await self._post(request, limit_name)
        except openai.BadRequestError as error:
            if limit_name != "auto" or not _OF_ANOTHER_NAME.match(str(error)):
                raise
            self._limit_name = NEW_LIMIT
        return await self._post(request, NEW_LIMIT)

    async def _post(self, request: Request, limit_name: str) -> Any:
        is_plain = request.messages[0].role == PLAIN
        is_verdict = bool(request.choices)
        sampling = dict(self._judging) if is_verdict else sampling_for(request, self._sampling)
        sampling.pop("max_tokens", None)
        if limit := self._limit(request):
            sampling["max_tokens" if is_plain or limit_name == "auto" else limit_name] = limit
        standard = {name: v for name, v in sampling.items() if name in _STANDARD_PARAMETERS}
        extra = {_SENT_AS.get(n, n): v for n, v in sampling.items() if n not in standard}
        options: dict[str, Any] = {"model": self._model, **standard}
        if is_plain:
            text = "\n\n".join(message.content for message in request.messages)
            body = {**self._body, **extra}
            return await self._client.completions.create(prompt=text, extra_body=body, **options)
        messages: Any = [message._asdict() for message in request.messages]
        body = {**self._body, **self._response_format, **self._template, **extra}
        if is_verdict:  # a form of the answer is none of the verdict
            body.pop("response_format", None)
        create = self._client.chat.completions.create
        return await create(messages=messages, extra_body=body, **options)

    async def check_model(self) -> str:
        """A line about the endpoint and its model; `EngineError` if it does not have the model."""
        try:
            models = [model.id async for model in self._client.models.list()]
        except openai.NotFoundError:
            return f"{self._address} lists no models"
        except openai.APIError as error:
            raise EngineError(f"{self._address}: {describe(error)}") from error
        if self._model not in models:
            known = nearest(self._model, models)
            raise EngineError(f"engine.model: {self._model} is not at {self._address}{known}")
        return f"{self._address} has {self._model}"

    def _limit(self, request: Request) -> int | None:
        """The token limit of the record's own line, or the job's, doubled as often as requested;
        without one, the endpoint's own.
        """
        limit = self._sampling.get("max_tokens")
        return request.own_limit or (limit * 2**request.lengthened if limit else None)

    def _fault_of(self, error: openai.APIError, began: float) -> Exception:
        """Whether a request that failed for good fails its record only, or the whole run."""
        message = f"{self._address}: {describe(error)}"
        if isinstance(error, openai.RateLimitError):
            return EngineError(f"{message}; lower engine.options.concurrency, or run again later")
        if isinstance(error, openai.APIStatusError) and error.status_code in _BAD_REQUESTS:
            return GenerationError(message)
        temporary = isinstance(error, openai.APIConnectionError | openai.InternalServerError)
        if temporary and self._last_answer > began:
            return GenerationError(message)  # others were answered, so it is this record
        return EngineError(message)


def _response_format(answer: Answer) -> dict[str, Any]:
    """What makes an endpoint follow the job's schema, where decoding is enforced."""
    constraint = format_of(answer).constraint
    if answer.decoding != "enforced" or not isinstance(constraint, Schema):
        return {}
    schema = {"name": "answer", "strict": True, "schema": constraint.schema}
    return {"response_format": {"type": "json_schema", "json_schema": schema}}


def _completion(response: Any, seconds: float, unlimited: bool) -> Completion:
    (choice,) = response.choices
    reason = _REASONS.get(choice.finish_reason, "error")
    thought, said = _words(choice)
    split = split_of(thought, said, reason)
    usage = response.usage
    of_prompt = getattr(usage, "prompt_tokens_details", None)
    of_completion = getattr(usage, "completion_tokens_details", None)
    return Completion(
        text=as_text(split) if split else said,
        finish_reason=reason,
        prompt_tokens=usage.prompt_tokens if usage else 0,
        cached_tokens=getattr(of_prompt, "cached_tokens", None) or 0,
        completion_tokens=usage.completion_tokens if usage else 0,
        seconds=seconds,
        context_full=reason == "length" and unlimited,
        reasoning_tokens=getattr(of_completion, "reasoning_tokens", None) or 0,
        split=split,
    )


def _words(choice: Any) -> tuple[str, str]:
    """Thought and answer of a choice. A content may be a list of parts, thoughts among them."""
    if hasattr(choice, "text"):
        return "", choice.text or ""
    said = choice.message.content or ""
    if isinstance(said, list):
        parts = (part for part in said if isinstance(part, dict) and not is_thought(part))
        said = "".join(str(part.get("text") or "") for part in parts)
    return thought_of(dict(choice.message)), said
