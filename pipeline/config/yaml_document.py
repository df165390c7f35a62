"""Parses a YAML document, so that every fault in it has a line."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

MAX_DEPTH, MAX_VALUES = 50, 100_000
"""Of a document with its aliases expanded; a few lines of aliases can stand for billions."""

CHOICES = "choices"
"""The key of a list whose scalars are text as they are written: `[yes, no, 1.10]`."""

_QUOTED = re.compile(r"\b(alias|anchor|tag(?: handle)?) .*")
"""Messages of the parser that quote the document, which may hold a secret, from there on."""

_VALUE_ERRORS = (ValueError, TypeError, LookupError, AttributeError, OverflowError)
"""What PyYAML raises for the 31st of February, `!!int x`, `!!bool x` and `!!timestamp x`."""


class YamlFault(Exception):
    """What is wrong with a document and where, as a line from 1."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.message = message
        self.line = line


@dataclass(frozen=True, slots=True)
class YamlDocument:
    """A document's data, and its nodes, which know their lines."""

    data: Any
    node: yaml.Node | None

    def line_of(self, place: Sequence[int | str]) -> int:
        """The line of a value, or of the nearest one around it that is there."""
        node, line = self.node, 1
        for part in place:
            if isinstance(node, yaml.MappingNode):
                pairs = {key.value: (key, value) for key, value in node.value}
                key, node = pairs.get(str(part), (None, None))
            elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
                key = node = node.value[part]
            else:
                break
            line = key.start_mark.line + 1 if key else line
        return line


def parse_yaml(text: str) -> YamlDocument:
    """The one document in a text; raises `YamlFault` for anything else."""
    try:
        _check_size(text)
        loader = _Loader(text)
        node = loader.get_single_node()
        return YamlDocument(None if node is None else loader.construct_document(node), node)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise YamlFault(f"the character {chr(error.character)!r} is not allowed", line) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = _QUOTED.sub(r"\1", error.problem or "a document breaks off")
        raise YamlFault(problem, mark.line + 1 if mark else 1) from None


class _Loader(yaml.SafeLoader):
    """A SafeLoader that refuses a key twice, a key that is no scalar, and values that are none."""

    # Of its own: a dependency of vLLM changes how every SafeLoader reads dates.
    yaml_constructors = {  # noqa: RUF012  as PyYAML has it
        **yaml.SafeLoader.yaml_constructors,
        "tag:yaml.org,2002:timestamp": yaml.SafeLoader.construct_yaml_timestamp,
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
            if not isinstance(key, yaml.ScalarNode):
                raise _error(
                    "a key must be a word; in braces or brackets, {{ X }} too, it needs quotes", key
                )
            if (kind := _kind(key)) in ("bool", "null", "float", "timestamp", "binary"):
                raise _error(f"the key {key.value!r} is read as a {kind}; put it in quotes", key)
            if key.value in seen:
                raise _error(f"the key {key.value!r} is here twice", key)
            seen.add(key.value)
            if key.value == CHOICES and isinstance(value, yaml.SequenceNode):
                _take_as_text(value)
        return super().construct_mapping(node, deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except _VALUE_ERRORS:
            raise _error(
                f"a value that is no {_kind(node)}; as text it needs quotes", node
            ) from None


def _take_as_text(node: yaml.SequenceNode) -> None:
    for item in node.value:
        if isinstance(item, yaml.ScalarNode):
            item.tag = "tag:yaml.org,2002:str"


def _kind(node: yaml.Node) -> str:
    """What YAML takes a value for: str, int, bool, …"""
    return str(node.tag).rpartition(":")[2]


def _error(problem: str, node: yaml.Node) -> yaml.MarkedYAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


@dataclass(slots=True)
class _Extent:
    """How many values a collection holds, at any depth, and how deep it goes."""

    anchor: str | None = None
    values: int = 1
    depth: int = 1

    def add(self, inner: "_Extent") -> None:
        self.values += inner.values
        self.depth = max(self.depth, inner.depth + 1)


def _check_size(text: str) -> None:
    """Refuses aliases within what they repeat, and documents too deep or too large.

    It reads events, which takes no recursion, unlike all that follows.
    """
    anchored: dict[str | None, _Extent] = {}
    open_ = [_Extent()]
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.CollectionStartEvent):
            open_.append(_Extent(event.anchor))
        elif isinstance(event, yaml.CollectionEndEvent):
            extent = open_.pop()
            anchored[extent.anchor] = extent
            open_[-1].add(extent)
        elif isinstance(event, yaml.AliasEvent):
            if any(extent.anchor == event.anchor for extent in open_):
                raise YamlFault("an alias stands within what it repeats", line)
            open_[-1].add(anchored.get(event.anchor, _Extent()))
        elif isinstance(event, yaml.ScalarEvent):
            open_[-1].add(_Extent())
        if len(open_) + open_[-1].depth > MAX_DEPTH:
            raise YamlFault(f"more than {MAX_DEPTH} levels", line)
        if open_[-1].values > MAX_VALUES:
            raise YamlFault(f"more than {MAX_VALUES:,} values", line)
