"""The YAML front matter of a prompt template, whose values are the texts that stand there."""

from typing import NamedTuple

import yaml

from pipeline.core.errors import ConfigError, nearest

_KEYS = {"name", "version", "system"}
_NULL = {"", "~", "null", "Null", "NULL"}


class Text(NamedTuple):
    text: str
    line: int  # of the file, on which it begins


def split_template(path: str, text: str) -> tuple[str, str, int]:
    """Front matter, body and the body's first line; raises `ConfigError` if one is missing."""
    opening, _, rest = text.partition("\n")
    front, fence, body = rest.partition("\n---\n")
    if opening.rstrip() != "---" or not fence:
        raise ConfigError(f"{path}:1: a template begins with front matter between two --- lines")
    if not body.strip():
        raise ConfigError(f"{path}: no message below the front matter")
    return front, body, front.count("\n") + 4


def front_matter(path: str, front: str) -> dict[str, Text]:
    """The values by key, less empty ones; raises `ConfigError` if one is missing or no text."""
    fields = {}
    for key, value in _pairs(path, front):
        line = value.start_mark.line + 2
        if not isinstance(value, yaml.ScalarNode):
            raise ConfigError(f"{path}:{line}: front matter: {key} must be text; quote it")
        text = value.value.strip()
        if text and (value.style or text not in _NULL):
            in_block = value.style in ("|", ">")  # begins on the next line
            fields[key] = Text(text, line + in_block)
    for name in ("name", "version"):
        if name not in fields:
            raise ConfigError(f"{path}: front matter: {name} is missing")
    return fields


def _pairs(path: str, front: str) -> list[tuple[str, yaml.Node]]:
    try:
        node = yaml.compose(front, yaml.BaseLoader)  # every value is text: 1.10, on, 2024-01-01
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: front matter: {' '.join(str(error).split())}") from error
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(f"{path}:2: front matter is a mapping with name and version")
    for key, _ in node.value:
        if key.value not in _KEYS:
            known = nearest(str(key.value), _KEYS)
            raise ConfigError(f"{path}:{key.start_mark.line + 2}: front matter: {key.value}{known}")
    return [(key.value, value) for key, value in node.value]
