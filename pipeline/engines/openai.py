"""Sends requests to an endpoint of OpenAI's protocol, through its official client.

The client retries temporary failures: 408, 409 and 5xx, lost connections and timeouts, with growing
delays. When it gives up, this module decides whether the record or the endpoint is at fault, by
whether other records were answered meanwhile. A request that was refused for its rate (429, or 503
with `Retry-After`) waits its turn again as often as it takes.
"""

import asyncio
import re
import time
from functools import partial
from typing import Any

import openai

from pipeline.config.schema import Answer, Job
from pipeline.core.errors import EngineError, describe
from pipeline.core.records import PLAIN, Completion, FinishReason
from pipeline.core.thoughts import as_text, is_thought, split_of, thought_of
from pipeline.engines.engine import GenerationError, Request, judging_sampling, sampling_for
from pipeline.engines.openai_clients import clients_of, is_refusal, is_spent, named
from pipeline.engines.openai_options import NEW_LIMIT, endpoint_of
from pipeline.engines.pacing import Pacing, TokenEstimate, Unpaced
from pipeline.engines.rate_headers import limits_of, retry_after
from pipeline.formats import format_of
from pipeline.formats.base import Schema

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


_TOO_LARGE = re.compile(r"(?i)request too large|larger than the (?:rate )?limit")
"""The message of a 429 for a request that alone is above the limit, so that it can never go."""


class OpenAIEngine:
    """Keeps at most `concurrency` requests open, at one endpoint or at several; the API key comes
    from the environment. `pacing` makes what holds requests back for the endpoints' limits.
    """

    kind = "openai"
    version = openai.__version__

    def __init__(self, job: Job, pacing: Pacing = Unpaced) -> None:
        endpoint = endpoint_of(job)
        self._clients = clients_of(job)
        self._pacer = pacing(list(self._clients), job.engine.limits.model_dump(exclude_none=True))
        self._estimate = TokenEstimate(job)
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
        expected = partial(self._estimate.of, request, self._limit(request))
        tried, is_again = set[str](), False
        async with self._slots:
            began = time.monotonic()
            while True:
                address, tokens = await self._pacer.turn(expected, tried, is_again)
                try:
                    return await self._answered(request, address, tokens)
                except openai.APIError as error:
                    is_again = is_refusal(error) and not _TOO_LARGE.search(str(error))
                    if not is_again:
                        tried.add(address)
                        if len(tried) == len(self._clients) or not self._may_differ(error):
                            raise self._fault_of(error, began, address) from error

    async def _answered(self, request: Request, address: str, tokens: float) -> Completion:
        """Sends a request whose turn it is; tells the pacer what became of it."""
        sent_at, pacer = time.monotonic(), self._pacer
        try:
            response = await self._send(request, self._clients[address])
            completion = _completion(
                response.parse(), time.monotonic() - sent_at, self._limit(request) is None
            )
        except openai.APIStatusError as error:
            if is_refusal(error):
                headers = error.response.headers
                wait, limits = retry_after(headers), limits_of(headers)
                pacer.refused(address, tokens, sent_at, wait, limits)
            else:
                pacer.failed(address, tokens, self._is_lost(error, sent_at))
            raise
        except BaseException as error:
            pacer.failed(address, tokens, self._is_lost(error, sent_at))
            raise
        self._last_answer = time.monotonic()
        spent = completion.prompt_tokens + completion.completion_tokens
        self._estimate.learn(completion.completion_tokens)
        pacer.answered(address, tokens, spent or tokens, limits_of(response.headers))
        return completion

    def _is_lost(self, error: BaseException, sent_at: float) -> bool:
        """Whether an endpoint is to be left out for a while, where there are others."""
        if len(self._clients) == 1:
            return False
        is_gone = isinstance(error, openai.APIConnectionError) or is_spent(error)
        return is_gone or (self._may_differ(error) and self._last_answer <= sent_at)

    def _may_differ(self, error: BaseException) -> bool:
        """Whether another endpoint may answer a request that failed so."""
        kinds = openai.APIConnectionError, openai.InternalServerError
        return isinstance(error, kinds) or is_spent(error)

    async def _send(self, request: Request, client: openai.AsyncOpenAI) -> Any:
        """Sends a request, and once more if the endpoint wants the token limit by another name."""
        limit_name = self._limit_name
        try:
            return await self._post(request, client, limit_name)
        except openai.BadRequestError as error:
            if limit_name != "auto" or not _OF_ANOTHER_NAME.match(str(error)):
                raise
            self._limit_name = NEW_LIMIT
        return await self._post(request, client, NEW_LIMIT)

    async def _post(self, request: Request, client: openai.AsyncOpenAI, limit_name: str) -> Any:
        """The response with its headers."""
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
            create_plain = client.completions.with_raw_response.create
            return await create_plain(prompt=text, extra_body=body, **options)
        messages: Any = [message._asdict() for message in request.messages]
        body = {**self._body, **self._response_format, **self._template, **extra}
        if is_verdict:  # a form of the answer is none of the verdict
            body.pop("response_format", None)
        create = client.chat.completions.with_raw_response.create
        return await create(messages=messages, extra_body=body, **options)

    def _limit(self, request: Request) -> int | None:
        """The token limit of the record's own line, or the job's, doubled as often as requested;
        without one, the endpoint's own.
        """
        limit = self._sampling.get("max_tokens")
        return request.own_limit or (limit * 2**request.lengthened if limit else None)

    def _fault_of(self, error: openai.APIError, began: float, address: str) -> Exception:
        """Whether a request that failed for good fails its record only, or the whole run."""
        message = f"{named(address)}: {describe(error)}"
        if is_spent(error):
            return EngineError(f"{message}; no rate limit: raise the account's quota or pay for it")
        if isinstance(error, openai.RateLimitError):
            return GenerationError(message)  # too large on its own
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
