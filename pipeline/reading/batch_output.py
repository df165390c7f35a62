"""Turns a line of a batch's output into a record with the recorded answer, and no question."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from pipeline.core.records import BatchLine, Fault, FinishReason, Place, Record
from pipeline.core.thoughts import as_text, is_thought, split_of, thought_in, thought_of
from pipeline.reading.ids import as_id
from pipeline.reading.mojibake import repair_record
from pipeline.reading.rows import kind_of, text_of_content

FIRST_ERROR = 400
"""The lowest HTTP status of a failed request."""

_QUESTION_FIELDS = {"question", "prompt", "messages", "body", "params"}

_REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "completed": "stop",
    "length": "length",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "model_context_window_exceeded": "length",
    "content_filter": "abort",
    "refusal": "abort",
    "pause_turn": "abort",
}
"""Finish reasons of the protocols in vLLM's terms; others are unknown."""


class Answer(NamedTuple):
    text: str
    reason: str | None
    thought: str = ""


def is_output(row: Mapping[str, Any]) -> bool:
    """Whether a row is a line of an output file, OpenAI's or Anthropic's, and no question."""
    if any(row.get(name) is not None for name in _QUESTION_FIELDS):
        return False
    result = row.get("result")
    if isinstance(result, Mapping):
        return "type" in result
    return "response" in row and ("error" in row or isinstance(row["response"], Mapping))


def output_record(row: Mapping[str, Any], place: Place) -> Record:
    """The answer under its `custom_id`; raises `Fault` for a request that failed."""
    body = _body(row)
    answer, usage = _answer(body), _mapping(body.get("usage"))
    reason = _REASONS.get(answer.reason or "")
    split = split_of(answer.thought, answer.text, reason)
    batch = BatchLine(
        finish_reason=reason,
        prompt_tokens=_tokens(usage, "prompt_tokens", "input_tokens"),
        cached_tokens=_cached(usage),
        completion_tokens=_tokens(usage, "completion_tokens", "output_tokens"),
        reasoning_tokens=_reasoning(usage),
    )
    return repair_record(
        Record(
            as_id(row["custom_id"], "custom_id") or "",
            place,
            recorded_answer=as_text(split) if split else answer.text,
            batch=batch,
        )
    )


def _body(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """The response of a request that did not fail."""
    if isinstance(result := row.get("result"), Mapping):
        if result.get("type") != "succeeded":
            raise _failed(f"result {result.get('type')}", result.get("error"))
        return _mapping(result.get("message"))
    response = _mapping(row.get("response"))
    status = response.get("status_code")
    body = response.get("body", response)
    if row.get("error") or (isinstance(status, int) and status >= FIRST_ERROR):
        raise _failed(f"status {status}" if status else "", row.get("error") or body)
    if not isinstance(body, Mapping):
        raise Fault("wrong_type", f"response.body must be an object, not {kind_of(body)}")
    if body.get("error"):
        raise _failed("", body["error"])
    return body


def _failed(status: str, error: Any) -> Fault:
    """The fault of a failed request, with the service's own message."""
    inner = error
    while isinstance(inner, Mapping) and isinstance(inner.get("error"), Mapping):
        inner = inner["error"]
    message = inner.get("message") or inner.get("code") if isinstance(inner, Mapping) else inner
    parts = [part for part in (status, str(message or "")) if part]
    return Fault("failed_request", f"the request failed: {': '.join(parts) or 'no reason given'}")


def _answer(body: Mapping[str, Any]) -> Answer:
    """The text of a response and why it ended; one kind of response after the other."""
    if isinstance(choices := body.get("choices"), list):
        return _of_choices(choices)
    if isinstance(items := body.get("output"), list):
        return _of_responses(body, items)
    if isinstance(content := body.get("content"), list):
        return Answer(_text(content, "content"), _str(body.get("stop_reason")), thought_in(content))
    raise Fault("missing_field", "no answer: neither choices, nor output, nor content")


def _of_choices(choices: list[Any]) -> Answer:
    if len(choices) != 1 or not isinstance(choices[0], Mapping):
        raise Fault("unsupported", f"choices: {len(choices)} answers; a record has one")
    choice = choices[0]
    message = choice.get("message")
    if message is None:
        return Answer(
            _text(choice.get("text"), "choices[0].text"), _str(choice.get("finish_reason"))
        )
    message = _mapping(message)
    if message.get("tool_calls") or message.get("function_call"):
        raise Fault("unsupported", "choices[0].message: the answer is a call of a tool")
    content = message.get("content")
    text = message.get("refusal") if content is None else content
    said = _text(text or "", "choices[0].message.content")
    return Answer(said, _str(choice.get("finish_reason")), thought_of(message))


def _of_responses(body: Mapping[str, Any], items: list[Any]) -> Answer:
    if body.get("status") == "failed":
        raise _failed("", body.get("error"))
    messages = [i for i in items if isinstance(i, Mapping) and i.get("type") == "message"]
    thought = thought_in(items)
    if not messages and not thought:
        raise Fault("missing_field", "output holds no message")
    texts = [_text(message.get("content"), "output") for message in messages]
    details = _mapping(body.get("incomplete_details"))
    reason = _str(details.get("reason") or body.get("status"))
    return Answer("\n".join(texts), reason, thought)


def _text(content: Any, place: str) -> str:
    """A text, or the text parts of a list that are no thoughts."""
    if isinstance(content, list):
        content = [part for part in content if not is_thought(part)]
        content = [{"text": p["refusal"]} if "refusal" in p else p for p in map(_mapping, content)]
    return text_of_content(content, place)


def _tokens(usage: Mapping[str, Any], *names: str) -> int:
    counts = (usage.get(name) for name in names)
    return next((n for n in counts if isinstance(n, int) and 0 <= n < 2**31), 0)


def _cached(usage: Mapping[str, Any]) -> int:
    details = _mapping(usage.get("prompt_tokens_details") or usage.get("input_tokens_details"))
    return _tokens({**usage, **details}, "cached_tokens", "cache_read_input_tokens")


def _reasoning(usage: Mapping[str, Any]) -> int:
    details = usage.get("completion_tokens_details") or usage.get("output_tokens_details")
    return _tokens(_mapping(details), "reasoning_tokens")


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _str(value: Any) -> str | None:
    return value if isinstance(value, str) else None
