"""The chat template that a job brings, and its arguments for a chat template.

`engine.options.chat_template` is the path of a file, or the template's own text, as vLLM's server
takes it. `engine.chat_template_kwargs` are names that the job's or the model's template reads.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import orjson
from jinja2 import TemplateSyntaxError, meta, nodes
from jinja2.defaults import DEFAULT_NAMESPACE
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from pipeline.config.schema import Job
from pipeline.core.disk import read_text
from pipeline.core.errors import ConfigError, describe

CHAT_TEMPLATE = "chat_template"
"""The option of vLLM's server that its engine does not have: prompts are formatted here."""

_KEY = f"engine.options.{CHAT_TEMPLATE}"
_KWARGS = "engine.chat_template_kwargs"

_SIGNS_OF_TEXT = "{}\n"
"""A value with one of these is a text unless there is a file of that name: vLLM's rule."""

PARAMETERS = frozenset(
    {
        "add_generation_prompt",
        "chat_template",
        "continue_final_message",
        "conversation",
        "documents",
        "max_length",
        "padding",
        "return_assistant_tokens_mask",
        "return_dict",
        "return_tensors",
        "self",
        "tokenize",
        "tokenizer_kwargs",
        "tools",
        "truncation",
    }
)
"""What the tokenizer's own method takes under these names, so that no template would see them."""

VARIABLES = frozenset(
    {
        "conversations",
        "generation_indices",
        "messages",
        "raise_exception",
        "strftime_now",
        *(
            f"{kind}_token"
            for kind in ("bos", "eos", "unk", "sep", "pad", "cls", "mask", "additional_special")
        ),
        "additional_special_tokens",
        *DEFAULT_NAMESPACE,
    }
)
"""What every chat template has already: the messages, special tokens, and Jinja2's own names."""


class _Generation(Extension):
    """The block `generation`, with which templates mark what a model has said."""

    tags = {"generation"}  # noqa: RUF012  as Jinja2 declares it

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


_environment = ImmutableSandboxedEnvironment(
    trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, "jinja2.ext.loopcontrols"]
)
"""Parses what the tokenizers' environment parses."""


def check_chat_template(job: Job) -> None:
    """Raises `ConfigError` for a template or an argument that cannot work with any model."""
    if job.engine.kind == "vllm" and (template := template_of(job)):
        _parse(template, _shown(job))
    _check_kwargs(job.engine.chat_template_kwargs)


def template_of(job: Job) -> str | None:
    """The text of the job's own chat template; raises `ConfigError` if its file cannot be read."""
    value = job.engine.options.get(CHAT_TEMPLATE)
    if value is None:
        return None
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{_KEY}: write the path of a file, or the template's text")
    is_path = not any(sign in value for sign in _SIGNS_OF_TEXT)
    try:
        return read_text(value)
    except (OSError, ValueError) as error:  # a text may be no possible name of a file
        if is_path or isinstance(error, UnicodeDecodeError):
            raise ConfigError(f"{_KEY}: {value}: {_why(error)}") from None
        return value


def unread_kwargs(template: str, kwargs: Mapping[str, Any]) -> list[str]:
    """The arguments that a template never reads; none for what cannot be parsed."""
    try:
        return sorted(set(kwargs) - _read(template))
    except TemplateSyntaxError:
        return []


@lru_cache(maxsize=8)
def _read(template: str) -> frozenset[str]:
    return frozenset(meta.find_undeclared_variables(_environment.parse(template)))


@lru_cache(maxsize=8)
def _parse(template: str, shown: str) -> None:
    try:
        _environment.from_string(template)
    except TemplateSyntaxError as error:
        raise ConfigError(f"{shown}:{error.lineno}: not valid Jinja: {error.message}") from None
    except RecursionError as error:
        raise ConfigError(f"{shown}: not valid Jinja: {describe(error)}") from None
    if "{" not in template:
        raise ConfigError(f"{shown}: prints no message; a chat template is Jinja")


def _shown(job: Job) -> str:
    """The template's name in messages: its path, if it has one."""
    value = job.engine.options[CHAT_TEMPLATE]
    return _KEY if any(sign in value for sign in _SIGNS_OF_TEXT) else f"{_KEY}: {value}"


def _why(error: Exception) -> str:
    return "no such file" if isinstance(error, FileNotFoundError) else describe(error)


def _check_kwargs(kwargs: Mapping[str, Any]) -> None:
    for name in kwargs:
        if name in PARAMETERS | VARIABLES:
            raise ConfigError(f"{_KWARGS}.{name}: a name that chat templates have already")
    try:
        is_json = orjson.loads(orjson.dumps(kwargs)) == kwargs
    except (TypeError, ValueError):
        is_json = False
    if not is_json:
        raise ConfigError(
            f"{_KWARGS}: only what JSON has: text, numbers, true, null, lists, mappings"
        )
