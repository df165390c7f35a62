"""The settings of a request in a batch file: sampling, what changes no text, and what is refused.

Three closed lists cover OpenAI's and Anthropic's protocols and vLLM's additions. A setting on none
of them is a reject, for it might have changed the answer.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from pipeline.config.schema import Sampling
from pipeline.core.records import BatchLine, Fault, RejectReason

_ALIASES = {
    "max_completion_tokens": "max_tokens",
    "max_output_tokens": "max_tokens",
    "max_tokens_to_sample": "max_tokens",
    "stop_sequences": "stop",
    "vllm_xargs": "extra_args",
}
"""Names of the protocols for a sampling parameter, beside vLLM's own."""

_WITHOUT_EFFECT = {
    "anthropic_version",
    "metadata",
    "parallel_tool_calls",
    "prediction",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
    "store",
    "stream",
    "stream_options",
    "user",
}
"""Settings that change no text: who asks, how the answer travels, what is cached."""

_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "background": (False,),
    "best_of": (1,),
    "echo": (False,),
    "functions": ([],),
    "include": ([],),
    "logprobs": (False, 0),
    "modalities": (["text"],),
    "n": (1,),
    "suffix": ("",),
    "thinking": ({"type": "disabled"},),
    "tool_choice": ("none", "auto", {"type": "none"}, {"type": "auto"}),
    "tools": ([],),
    "top_logprobs": (0,),
    "truncation": ("disabled",),
}
"""Settings that are accepted with these values alone, which ask for nothing."""

_RANGES = {
    "repetition_penalty": (1e-6, 100),
    "max_tokens": (1, 2**31 - 1),
    "min_tokens": (0, 2**31 - 1),
}
"""What the protocols and vLLM allow, where `Sampling` allows more."""


def batch_line(settings: Mapping[str, Any]) -> BatchLine:
    """The model and the sampling parameters of a request, whose messages are left out.

    Raises `Fault` for a setting that cannot be obeyed, or one with an impossible value.
    """
    model = settings.get("model")
    if not isinstance(model, str | None):
        raise Fault("wrong_type", "body.model must be text")
    sampling, shape = {}, None
    for name, value in settings.items():
        if value is None or name == "model" or name in _WITHOUT_EFFECT:
            continue
        if name in ("response_format", "text"):
            shape = _response_format(name, value)
        elif _ALIASES.get(name, name) in Sampling.model_fields:
            sampling[name] = value
        elif value not in _NEUTRAL.get(name, ()):
            raise _refused(name, value)
    return BatchLine(
        model, {**_sampling(sampling), **({"response_format": shape} if shape else {})}
    )


def _refused(name: str, value: Any) -> Fault:
    if name in _NEUTRAL:
        return Fault(
            "unsupported", f"body.{name}: {str(value)[:80]} cannot be obeyed; leave it out"
        )
    return Fault("unsupported", f"body.{name}: no setting that can be obeyed")


def _sampling(given: Mapping[str, Any]) -> dict[str, Any]:
    """Sampling parameters in vLLM's names and types, checked."""
    named: dict[str, Any] = {}
    for name, value in given.items():
        own = _ALIASES.get(name, name)
        if named.setdefault(own, value) != value:
            raise Fault("unsupported", f"body.{name}: another value than that of {own}")
        if own == "stop":
            named[own] = _stop(name, value)
        _check_range(name, value, *_RANGES.get(own, (None, None)))
    named = {name: value for name, value in named.items() if value not in ([], {})}
    try:
        return Sampling.model_validate(named, strict=True).model_dump(exclude_none=True)
    except ValidationError as error:
        first = error.errors()[0]
        is_type = first["type"].endswith("_type")
        reason: RejectReason = "wrong_type" if is_type else "unsupported"
        written = next(n for n in given if _ALIASES.get(n, n) == first["loc"][0])
        raise Fault(reason, f"body.{written}: {first['msg']}") from error


def _check_range(name: str, value: Any, lowest: float | None, highest: float | None) -> None:
    if lowest is None or highest is None or not isinstance(value, int | float):
        return
    if not lowest <= value <= highest:
        raise Fault("unsupported", f"body.{name}: {value} is not from {lowest} to {highest}")


def _stop(name: str, value: Any) -> Any:
    stops = [value] if isinstance(value, str) else value
    if isinstance(stops, list) and "" in stops:
        raise Fault("unsupported", f"body.{name}: an empty text stops nothing")
    return stops


def _response_format(name: str, value: Any) -> Mapping[str, Any] | None:
    """`response_format` of a chat; the format in `text` of `/v1/responses` becomes the same."""
    place, form = f"body.{name}", value
    if name == "text":
        place, form = "body.text.format", _format_of_text(value)
    kind = form.get("type") if isinstance(form, Mapping) else None
    if kind in ("text", None) and isinstance(form, Mapping):
        return None
    if kind == "json_object":
        return {"type": "json_object"}
    schema = form.get("json_schema", form) if kind == "json_schema" else None
    if isinstance(schema, Mapping) and isinstance(schema.get("schema"), Mapping):
        named = {key: item for key, item in schema.items() if key != "type"}
        return {"type": "json_schema", "json_schema": named}
    raise Fault("unsupported", f"{place}: only text, json_object, or json_schema with its schema")


def _format_of_text(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    for name in value:
        if name != "format" and value[name] is not None:
            raise Fault("unsupported", f"body.text.{name}: no setting that can be obeyed")
    return value.get("format") or {}
