"""Reads a job file: YAML, checked completely before anything starts.

Paths in it are relative to the working directory, as on a command line.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, cast, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pipeline.config.schema import Job
from pipeline.core.disk import read_text
from pipeline.core.errors import ConfigError, nearest
from pipeline.core.redaction import SECRET_NAME

_PASSWORD_IN_URI = re.compile(r"://[^/@\s]*:[^/\s]+@")
"""A user name without a password may stand in a URI."""

_DOTTED_NAME = re.compile(r"\w+(\.\w+)*")

_QUOTED_BY_YAML = re.compile(r"\b(alias|anchor|tag(?: handle)?) .*")
"""Messages of the YAML parser that quote the file, from where the quotation begins."""

_FREE_SECTIONS = ("storage", "engine.options")
"""Sections with keys of other tools; a wrong value in place of one may be a secret."""


def load_job(path: str | Path, overrides: Sequence[str] = ()) -> Job:
    """Reads and checks a job file, after applying `key=value` overrides.

    Raises `ConfigError` for anything invalid, naming the file and the field.
    """
    try:
        text = read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: the job file cannot be read: {error}") from error
    try:
        data = yaml.load(text, Loader=_StrictLoader)  # noqa: S506  a SafeLoader
    except (yaml.YAMLError, ValueError) as error:  # a ValueError for a date like 31 February
        raise ConfigError(f"{path}: not valid YAML: {_yaml_fault(error)}") from None
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: a job file must be a mapping with name, input and output")
    for override in overrides:
        _apply_override(data, override)
    _refuse_secrets(str(path), data)
    try:
        return Job.model_validate(data)
    except ValidationError as error:
        raise ConfigError(_explain(str(path), error)) from None  # its message quotes values


class _StrictLoader(yaml.SafeLoader):
    """A SafeLoader that refuses the same key twice in a mapping."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key_node.value!r} is here twice", key_node.start_mark
                )
            seen.add(key_node.value)
        return super().construct_mapping(node, deep)


def _apply_override(data: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        name_part = _DOTTED_NAME.match(key)
        shown = name_part[0] if name_part else ""  # the rest may be a secret value
        raise ConfigError(f"override {shown!r}: write key=value, as in engine.kind=extractive")
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"override {key}: not valid YAML: {_yaml_fault(error)}") from None
    *parents, name = key.split(".")
    for parent in parents:
        section = data.get(parent)
        # `prompt: FILE` is short for a mapping, into which an override may reach.
        if parent == "prompt" and isinstance(section, str):
            section = {"template": section}
        if section is not None and not isinstance(section, dict):
            raise ConfigError(f"override {key}: {parent} is a value in the job file, not a section")
        data[parent] = section = section or {}
        data = section
    data[name] = value


def _yaml_fault(error: Exception) -> str:
    """What is wrong and where, without the line itself, which may contain a password."""
    problem = getattr(error, "problem", None) or type(error).__name__
    message = _QUOTED_BY_YAML.sub(r"\1", problem)
    mark = getattr(error, "problem_mark", None)
    return f"{message}, line {mark.line + 1}, column {mark.column + 1}" if mark else message


def _refuse_secrets(path: str, data: Any) -> None:
    for place, key, value in _leaves(data, ""):
        if SECRET_NAME.search(key) and value is not None:
            raise ConfigError(
                f"{path}: {place}: a job file holds no secrets; set them in the environment "
                "(AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile)"
            )
        if isinstance(value, str) and _PASSWORD_IN_URI.search(value):
            raise ConfigError(
                f"{path}: {place}: a password in a URI; remove it, and set credentials in the "
                "environment"
            )


def _leaves(value: Any, place: str, key: str = "") -> Iterator[tuple[str, str, Any]]:
    """All scalars in `value` as (dotted place, nearest key, scalar)."""
    if isinstance(value, dict):
        for name, item in value.items():
            # Everything below a key that names a secret counts as secret.
            nearest_key = key if SECRET_NAME.search(key) else str(name)
            yield from _leaves(item, f"{place}.{name}" if place else str(name), nearest_key)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item, place, key)
    else:
        yield place, key, value


def _explain(path: str, error: ValidationError) -> str:
    """The first fault in one line; where there are others, their places in a second."""
    first, *others = error.errors()
    place = _dotted(first)
    if first["type"] == "extra_forbidden":
        *parents, name = first["loc"]
        message = f"unknown key{nearest(str(name), _known_keys(parents))}"
    elif first["type"] == "missing":
        message = "missing; every job needs it"
    else:
        text = first["msg"].removeprefix("Value error, ")
        value = "" if place in _FREE_SECTIONS else f" (it is {first['input']!r})"
        message = f"{text[0].lower()}{text[1:]}{value}"
    more = f"\n{len(others)} more: {', '.join(map(_dotted, others))}" if others else ""
    return f"{path}: {place}: {message}{more}"


def _dotted(fault: ErrorDetails) -> str:
    return ".".join(str(part) for part in fault["loc"])


def _known_keys(parents: Sequence[int | str]) -> list[str]:
    section: type[BaseModel] = Job
    for parent in parents:
        section = _section_of(section.model_fields[str(parent)].annotation)
    return list(section.model_fields)


def _section_of(annotation: Any) -> type[BaseModel]:
    """The section's class inside `X | None`, `Annotated[X, …]` and the like."""
    if get_origin(annotation) in (Union, UnionType, Annotated):
        return next(s for a in get_args(annotation) if (s := _section_of(a)))
    return cast(type[BaseModel], annotation)
