"""Reads a job file: YAML, checked completely before anything starts.

Paths in it are relative to the working directory, as on a command line.
"""

import codecs
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from pipeline.config.checks import DECLARED
from pipeline.config.schema import Job
from pipeline.config.sections import known_keys, with_defaults
from pipeline.config.yaml_document import YamlDocument, YamlFault, parse_yaml
from pipeline.core.disk import read_bytes
from pipeline.core.errors import ConfigError, nearest
from pipeline.core.redaction import SECRET_NAME

Place: TypeAlias = tuple[int | str, ...]
"""The keys and indices that lead to a value."""

_PASSWORD_IN_URI = re.compile(r"://[^/@\s]*:[^/\s]+@")
"""A user name without a password may stand in a URI."""

_DOTTED_NAME = re.compile(r"\w+(\.\w+)*")

_SEPARATOR = re.compile(r"\.(?!py(?:\.|$))")
"""Between the keys of an override; the name of a check may be that of a Python file."""

_ADDED = re.compile(r"\[\w+\]")

_FREE_SECTIONS = ("storage", "engine.options")
"""Sections with keys of other tools; a wrong value in place of one may be a secret."""

_LOGINS = ("anon", "cloud", "google_default")

_ELSEWHERE = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile",
    **dict.fromkeys(("gs", "gcs"), "GOOGLE_APPLICATION_CREDENTIALS"),
    **dict.fromkeys(
        ("az", "abfs", "abfss"), "AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT_KEY"
    ),
    "hf": "HF_TOKEN",
}
"""Where the credentials of a scheme's options come from."""

_QUOTED_CHARACTERS = 200

_OTHER_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)
"""Of UTF-16 and UTF-32, whose little-endian one begins like that of UTF-16."""


def load_job(path: str | Path, overrides: Sequence[str] = ()) -> Job:
    """Reads and checks a job file, after applying `key=value` overrides.

    Raises `ConfigError` for anything invalid, naming the file, the line and the field.
    """
    document = _parsed(path)
    for override in overrides:
        _apply_override(document.data, override)
    keys = [override.partition("=")[0] for override in overrides]
    return _checked(document.data, _Origin(str(path), document, keys))


def load_mapping(path: str | Path) -> dict[str, Any]:
    """What a job file says, not yet checked; raises `ConfigError` if it is no mapping."""
    data: dict[str, Any] = _parsed(path).data
    return data


def job_of(data: Mapping[str, Any], name: str = "job") -> Job:
    """The job that a mapping describes, with the keys of a job file.

    Raises `ConfigError` for anything invalid, with the job's `name` and the field.
    """
    return _checked(dict(data), _Origin(name))


def _parsed(path: str | Path) -> YamlDocument:
    text = _read(path)
    try:
        document = parse_yaml(text)
    except YamlFault as fault:
        raise ConfigError(f"{path}:{fault.line}: not valid YAML: {fault.message}") from None
    if not isinstance(document.data, dict):
        raise ConfigError(f"{path}:1: a job file must be a mapping with name, input and output")
    return document


def _checked(data: dict[str, Any], where: "_Origin") -> Job:
    data = with_defaults(data, Job)
    _refuse_secrets(where, data)
    try:
        return Job.model_validate(data)
    except ValidationError as error:
        raise ConfigError(_explain(where, error)) from None  # its message quotes values


def _read(path: str | Path) -> str:
    """The text of a job file, without a byte order mark."""
    try:
        data = read_bytes(path)
    except OSError as error:
        raise ConfigError(f"{path}: the job file cannot be read: {error}") from error
    if data.startswith(_OTHER_MARKS):
        raise ConfigError(f"{path}:1: the job file is UTF-16 or UTF-32; save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: the job file is not UTF-8; save it as UTF-8") from None


class _Origin:
    """Says where a value comes from: a line of the file, an override, or no file at all."""

    def __init__(
        self, path: str, document: YamlDocument | None = None, overridden: Sequence[str] = ()
    ) -> None:
        self._path, self._document, self._overridden = path, document, overridden

    def of(self, place: Place) -> str:
        dotted = _dotted(place)
        for key in self._overridden:
            if f"{dotted}.".startswith(f"{key}."):
                return f"{self._path}: {dotted}"
        if self._document is None:
            return f"{self._path}: {dotted}"
        return f"{self._path}:{self._document.line_of(place)}: {dotted}"


def _apply_override(data: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        name_part = _DOTTED_NAME.match(key)
        shown = name_part[0] if name_part else ""  # the rest may be a secret value
        raise ConfigError(f"override {shown!r}: write key=value, as in engine.kind=extractive")
    try:
        value = parse_yaml(text).data
    except YamlFault as fault:
        raise ConfigError(f"override {key}: not valid YAML: {fault.message}") from None
    *parents, name = _SEPARATOR.split(key)
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


def _refuse_secrets(where: _Origin, data: Any) -> None:
    for place, key, value in _leaves(data, ()):
        if SECRET_NAME.search(key) and value is not None and not _is_kind_of_login(place, value):
            raise ConfigError(
                f"{where.of(place)}: a job file holds no secrets; set them in the environment "
                f"({_ELSEWHERE.get(str(place[1]) if place[1:] else '', _ELSEWHERE['s3'])})"
            )
        if isinstance(value, str) and _PASSWORD_IN_URI.search(value):
            raise ConfigError(
                f"{where.of(place)}: a password in a URI; remove it, and set credentials in the "
                "environment"
            )


def _is_kind_of_login(place: Place, value: Any) -> bool:
    """Whether an option is gcsfs's `token`, and says where to look for one."""
    is_token = place in (("storage", "gs", "token"), ("storage", "gcs", "token"))
    return is_token and value in _LOGINS


def _leaves(value: Any, place: Place, key: str = "") -> Iterator[tuple[Place, str, Any]]:
    """All scalars in `value` as (place, nearest key, scalar)."""
    if isinstance(value, dict):
        for name, item in value.items():
            # Everything below a key that names a secret counts as secret.
            nearest_key = key if SECRET_NAME.search(key) else str(name)
            yield from _leaves(item, (*place, str(name)), nearest_key)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item, place, key)
    else:
        yield place, key, value


def _explain(where: _Origin, error: ValidationError) -> str:
    """The first fault in one line; where there are others, their places in a second."""
    first, *others = error.errors()
    place = _place_of(first)
    if first["type"] == "extra_forbidden":
        *parents, name = place
        declared = next((DECLARED[p] for p in map(str, first["loc"]) if p in DECLARED), None)
        known = list(declared.model_fields) if declared else known_keys(Job, parents)
        message = f"unknown key{nearest(str(name), known)}"
    elif first["type"] == "missing":
        message = "missing; every job needs it"
    else:
        text = first["msg"].removeprefix("Value error, ")
        message = f"{text[0].lower()}{text[1:]}{_quoted(place, first['input'])}"
    more = ", ".join(_dotted(_place_of(other)) for other in others)
    return f"{where.of(place)}: {message}" + (f"\n{len(others)} more: {more}" if others else "")


def _quoted(place: Place, value: Any) -> str:
    if _dotted(place) in _FREE_SECTIONS:
        return ""
    quoted = repr(value)
    shown = quoted[:_QUOTED_CHARACTERS] + "…" * (len(quoted) > _QUOTED_CHARACTERS)
    return f" (it is {shown})"


def _place_of(fault: ErrorDetails) -> Place:
    """Without what Pydantic adds: for the key of a mapping that is no text, and kinds of values."""
    return tuple(part for part in fault["loc"] if not _ADDED.fullmatch(str(part)))


def _dotted(place: Place) -> str:
    return ".".join(map(str, place))
