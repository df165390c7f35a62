"""Turns a line of a batch file into a record: a request of OpenAI's or Anthropic's protocol."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from pipeline.core.records import Fault, Place, Record
from pipeline.reading.batch_output import is_output, output_record
from pipeline.reading.batch_settings import batch_line
from pipeline.reading.columns import OWN, Columns
from pipeline.reading.rows import READY, id_of, kind_of, require, row_record

Body = Mapping[str, Any]

_ENDPOINT = re.compile(r"(?:^|/)(chat/completions|completions|messages|responses)/*$")
_OTHER_ENDPOINT = re.compile(
    r"(?:^|/)(?:embeddings|moderations|images/\w+|videos|audio/\w+|rerank|score|pooling|classify)/*$"
)


def any_record(row: Any, place: Place, columns: Columns = OWN) -> Record:
    """The record in a row or in a line of a batch file; raises `Fault` like `row_record`.

    Where a job names the column of a prompt, no row is such a line.
    """
    is_line = isinstance(row, Mapping) and "custom_id" in row and not columns.maps_content
    if is_line and (_is_request(row) or is_output(row)):
        return batch_record(row, place, columns)
    return row_record(row, place, columns)


def _is_request(row: Body) -> bool:
    """Whether a row has a request; a row with a prompt of its own may have a column `body`."""
    bodies = [row[name] for name in ("body", "params") if isinstance(row.get(name), Mapping)]
    if any(row.get(name) is not None for name in ("question", *READY)):
        return any(name in body for body in bodies for name in READY)
    return bool(bodies)


def batch_record(row: Any, place: Place, columns: Columns = OWN) -> Record:
    """The record in a line of a batch file: of its input, or of its output.

    Raises `Fault` for a line that is neither, or that asks for what cannot be obeyed.
    """
    if not isinstance(row, Mapping):
        raise Fault("wrong_type", f"a batch line must be an object, not {kind_of(row)}")
    require(row, "custom_id")
    if is_output(row):
        return output_record(row, place)
    name = "params" if row.get("params") is not None else "body"
    require(row, name)
    body = row[name]
    if not isinstance(body, Mapping):
        raise Fault("wrong_type", f"{name} must be an object, not {kind_of(body)}")
    endpoint = _endpoint(row, "messages" if name == "params" else None)
    settings = {key: value for key, value in body.items() if key not in endpoint.fields}
    own = {key: value for key, value in row.items() if key not in (name, *READY)}
    prompt = endpoint.read(body)
    record = row_record({**own, **prompt, "body": settings}, place, columns)
    line = batch_line(settings)
    return replace(record, batch=line if line.model or line.sampling else None)


def any_id(row: Any, columns: Columns = OWN) -> str | None:
    """The id for the reject of a row or a batch line, or None if it has no valid one."""
    if isinstance(row, Mapping) and is_output(row):
        row = {"custom_id": row.get("custom_id")}
    return id_of(row, columns)


class Endpoint(NamedTuple):
    """How requests to an endpoint are read: the fields of a body that make the prompt."""

    fields: tuple[str, ...]
    read: Callable[[Body], dict[str, Any]]  # gives `prompt` or `messages`


_TOOL_PARTS = ("tool_use", "tool_result")


def _endpoint(row: Body, default: str | None) -> Endpoint:
    """The endpoint that a line names; one without a name we know has a prompt or messages."""
    url = row.get("url")
    named = _ENDPOINT.search(url) if isinstance(url, str) else None
    if isinstance(url, str) and _OTHER_ENDPOINT.search(url):
        raise Fault("unsupported", f"url: {url} gives no answers in words")
    return _ENDPOINTS[named[1]] if named else _ENDPOINTS[default] if default else _READY_MADE


def _ready_made(body: Body) -> dict[str, Any]:
    return _chat(body) if body.get("prompt") is None else _completion(body)


def _chat(body: Body) -> dict[str, Any]:
    return {"messages": _without_tools(body.get("messages"), "messages")}


def _completion(body: Body) -> dict[str, Any]:
    """The prompt: a text, or a list of one."""
    prompt = body.get("prompt")
    if isinstance(prompt, list) and prompt and all(isinstance(text, str) for text in prompt):
        if len(prompt) > 1:
            raise Fault("unsupported", f"body.prompt: {len(prompt)} prompts; write a line for each")
        prompt = prompt[0]
    if isinstance(prompt, list):
        raise Fault("wrong_type", "body.prompt: token ids cannot be read; write the text")
    return {"prompt": prompt}


def _messages(body: Body) -> dict[str, Any]:
    """Anthropic's messages, behind a system message of their own."""
    messages = _without_tools(body.get("messages"), "messages")
    last = messages[-1] if isinstance(messages, list) and messages else None
    if isinstance(last, Mapping) and last.get("role") == "assistant":
        raise Fault("unsupported", "body.messages: an answer that is begun cannot be continued")
    return {"messages": _after("system", body.get("system"), messages)}


def _responses(body: Body) -> dict[str, Any]:
    """The input of `/v1/responses`, a text or a list of messages, behind the instructions."""
    given = body.get("input")
    messages = [{"role": "user", "content": given}] if isinstance(given, str) else given
    messages = _without_tools(messages, "input")
    return {"messages": _after("system", body.get("instructions"), messages)}


def _after(role: str, content: Any, messages: Any) -> Any:
    if not content or not isinstance(messages, list):
        return messages
    return [{"role": role, "content": content}, *messages]


def _without_tools(messages: Any, name: str) -> Any:
    """The messages as they are; raises `Fault` if one calls a tool or is not a message."""
    for number, message in enumerate(messages if isinstance(messages, list) else ()):
        if not isinstance(message, Mapping):
            continue  # for `row_record` to tell
        calls = message.get("tool_calls") or message.get("function_call")
        if calls or message.get("role") in ("tool", "function") or _has_tool_parts(message):
            raise Fault("unsupported", f"body.{name}[{number}]: tool calls cannot be passed on")
        if message.get("type") not in (None, "message"):
            what = message["type"]
            raise Fault("unsupported", f"body.{name}[{number}]: {what} is no message")
    return messages


def _has_tool_parts(message: Body) -> bool:
    content = message.get("content")
    parts = content if isinstance(content, list) else []
    return any(isinstance(p, Mapping) and p.get("type") in _TOOL_PARTS for p in parts)


_READY_MADE = Endpoint(("prompt", "messages"), _ready_made)
_ENDPOINTS = {
    "chat/completions": Endpoint(("messages",), _chat),
    "completions": Endpoint(("prompt",), _completion),
    "messages": Endpoint(("messages", "system"), _messages),
    "responses": Endpoint(("input", "instructions"), _responses),
}
