"""The job file: YAML, checked whole before anything starts.

Paths in it are relative to the folder that the command runs in, as on a command line.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, cast, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from pipeline.config.schema import Job
from pipeline.core.errors import ConfigError, nearest
from pipeline.core.redaction import SECRET_NAME

_USERINFO = re.compile(r"://[^/@\s]+:[^/\s]+@")

_NAME = re.compile(r"\w+(\.\w+)*")

_OF_YAML = re.compile(r"\b(alias|anchor|tag(?: handle)?) .*")
"""Where YAML's words on a fault quote what stands there."""

_OPEN = ("storage", "engine.options")
"""Sections of names that others choose: what stands in their place may be anything."""


def load_job(path: str | Path, overrides: Sequence[str] = ()) -> Job:
    """Reads and checks a job file, with `key=value` overrides laid over it.

    Raises `ConfigError`, naming the file and the field, for anything that is not as it should be.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: the job file cannot be read: {error}") from error
    try:
        data = yaml.load(text, Loader=_StrictLoader)  # noqa: S506  a SafeLoader
    except (yaml.YAMLError, ValueError) as error:  # the latter of a 31st of February
        raise ConfigError(f"{path}: not YAML: {_fault_of(error)}") from None
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: a job file is a mapping with name, input and output")
    for override in overrides:
        _lay_over(data, override)
    _refuse_secrets(str(path), data)
    try:
        return Job.model_validate(data)
    except ValidationError as error:
        raise ConfigError(_explain(str(path), error)) from None  # its words hold the values


class _StrictLoader(yaml.SafeLoader):
    """A SafeLoader for which the same key twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key_node.value!r} stands here twice", key_node.start_mark
                )
            seen.add(key_node.value)
        return super().construct_mapping(node, deep)


def _lay_over(data: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        begins = _NAME.match(key)
        shown = begins[0] if begins else ""  # what follows may be a value
        raise ConfigError(f"{shown!r}: an override reads key=value, as in engine.kind=extractive")
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{key}: the override's value is not YAML: {_fault_of(error)}") from None
    *sections, name = key.split(".")
    for section in sections:
        held = data.get(section)
        # `prompt: FILE` is short for a mapping; an override may reach into it all the same.
        if section == "prompt" and isinstance(held, str):
            held = {"template": held}
        if held is not None and not isinstance(held, dict):
            raise ConfigError(f"{key}: {section} holds a value, not a section")
        data[section] = held = held or {}
        data = held
    data[name] = value


def _fault_of(error: Exception) -> str:
    """What is wrong and where, without the line itself, which may be the one with a password."""
    said = _OF_YAML.sub(r"\1", getattr(error, "problem", None) or type(error).__name__)
    mark = getattr(error, "problem_mark", None)
    return f"{said}, line {mark.line + 1}, column {mark.column + 1}" if mark else str(said)


def _refuse_secrets(path: str, data: Any) -> None:
    for place, key, value in _leaves(data, ""):
        if SECRET_NAME.search(key) and value is not None:
            raise ConfigError(
                f"{path}: {place}: a job file holds no secrets; credentials come from the "
                "environment (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile)"
            )
        if isinstance(value, str) and _USERINFO.search(value):
            raise ConfigError(
                f"{path}: {place}: a password in a URI; credentials come from the environment"
            )


def _leaves(value: Any, place: str, key: str = "") -> Iterator[tuple[str, str, Any]]:
    if isinstance(value, dict):
        for name, held in value.items():
            # What a secret's name stands over is secret, too.
            under = key if SECRET_NAME.search(key) else str(name)
            yield from _leaves(held, f"{place}.{name}" if place else str(name), under)
    elif isinstance(value, list):
        for held in value:
            yield from _leaves(held, place, key)
    else:
        yield place, key, value


def _explain(path: str, error: ValidationError) -> str:
    """The first fault in a line; that there are more, in a second."""
    faults = error.errors()
    first = faults[0]
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        *parents, name = first["loc"]
        said = f"unknown key{nearest(str(name), _known_keys(parents))}"
    elif first["type"] == "missing":
        said = "missing; a job needs it"
    else:
        msg = first["msg"].removeprefix("Value error, ")
        shown = "" if place in _OPEN else f" (it is {first['input']!r})"
        said = f"{msg[0].lower()}{msg[1:]}{shown}"
    more = f"\n{len(faults) - 1} more: " if len(faults) > 1 else ""
    rest = ", ".join(".".join(str(part) for part in fault["loc"]) for fault in faults[1:])
    return f"{path}: {place}: {said}{more}{rest}"


def _known_keys(parents: Sequence[int | str]) -> list[str]:
    section: type[BaseModel] = Job
    for parent in parents:
        section = _section_of(section.model_fields[str(parent)].annotation)
    return list(section.model_fields)


def _section_of(annotation: Any) -> type[BaseModel]:
    """The section class inside `X | None` and the like."""
    if get_origin(annotation) in (Union, UnionType, Annotated):
        return next(s for a in get_args(annotation) if (s := _section_of(a)))
    return cast(type[BaseModel], annotation)
