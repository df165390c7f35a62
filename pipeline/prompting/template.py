"""Prompt templates: a file each, with YAML front matter and a Jinja2 user message.

Templates run in Jinja2's sandbox, and an undefined name is an error. `load_prompt` finds errors of
the template before a run starts; a record without a field that the template uses is rejected.
"""

import traceback
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from jinja2 import StrictUndefined, Template, TemplateSyntaxError, UndefinedError, meta, nodes
from jinja2.sandbox import SandboxedEnvironment

from pipeline.core.errors import ConfigError, nearest
from pipeline.core.records import PLAIN, Fault, Message, Passage, Place, Record

VERBATIM = "verbatim"
_FRONT_MATTER = {"name", "version", "system"}

_SAMPLE = Record(
    record_id="record",
    place=Place("", 0),
    paper_id="paper",
    question_id="question",
    question="A question?",
    passages=(Passage("Text.", "p. 1"),) * 2,
    messages=(Message(PLAIN, "Text."),),
)

_environment = SandboxedEnvironment(
    undefined=StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True
)


@dataclass(frozen=True, slots=True)
class PromptSource:
    """A prompt template as its file has it; with no body, the record's own text."""

    name: str
    version: str
    body: str = ""
    system: str = ""
    path: str = ""
    first_line: int = 1  # of the file, on which `body` begins
    max_words: int = 0

    def described(self) -> dict[str, str]:
        """Name, version and text, for the run file."""
        return {name: getattr(self, name) for name in ("name", "version", "system", "body")}

    @property
    def is_verbatim(self) -> bool:
        return self.name == VERBATIM and not self.path

    @property
    def sample(self) -> tuple[Message, ...]:
        """A prompt with the roles of all prompts; empty if each record brings its own messages."""
        parts = (("system", self.system), ("user", self.body))
        return tuple(Message(role, "Text.") for role, text in parts if text)


def load_prompt(template: str, max_words: int) -> PromptSource:
    """The template at a path, tried on an invented record; or `verbatim`.

    Raises `ConfigError` with file and line for a missing file, broken front matter, a syntax error,
    or a field that records do not have.
    """
    if template == VERBATIM:
        return PromptSource(VERBATIM, "1")
    try:
        text = Path(template).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"prompt: {template}: the template cannot be read: {error}") from error
    source = _parse(template, text, max_words)
    for part, line in ((source.system, 1), (source.body, source.first_line)):
        _check_names(template, part, line)
    _try_out(source)
    return source


def render(source: PromptSource, record: Record) -> tuple[tuple[Message, ...], str]:
    """A record's messages and their boilerplate; raises `Fault` if a field it needs is missing."""
    if source.is_verbatim:
        if not record.messages:
            raise Fault(
                "missing_field", "no prompt or messages to use verbatim; name a prompt template"
            )
        return record.messages, record.boilerplate
    context = _context(record, source.max_words)
    try:
        parts = [
            Message(role, _compiled(text).render(context))
            for role, text in (("system", source.system), ("user", source.body))
            if text
        ]
    except UndefinedError as error:
        raise Fault("missing_field", f"{_line_of(source, error)}: {error}") from error
    except Exception as error:  # an expression in a template may raise anything
        raise Fault("wrong_type", f"{_line_of(source, error)}: {error}") from error
    return tuple(parts), boilerplate_of(source)


@lru_cache(maxsize=16)
def boilerplate_of(source: PromptSource) -> str:
    """The template's literal text, which every prompt contains."""
    return "\n".join(
        node.data
        for text in (source.system, source.body)
        for node in _environment.parse(text).find_all(nodes.TemplateData)
    )


def _context(record: Record, max_words: int) -> dict[str, Any]:
    """A record's fields for a template; missing ones are left undefined."""
    fields = {
        "record_id": record.record_id,
        "paper_id": record.paper_id,
        "question_id": record.question_id,
        "question": record.question,
        "passages": record.passages,
        "prompt": "\n\n".join(m.content for m in record.messages if m.role == PLAIN) or None,
        "extra": record.extra,
        "max_words": max_words,
    }
    return {name: value for name, value in fields.items() if value is not None}


FIELDS = frozenset(_context(_SAMPLE, max_words=0))


def _parse(path: str, text: str, max_words: int) -> PromptSource:
    opening, _, rest = text.partition("\n")
    front, fence, body = rest.partition("\n---\n")
    if opening.rstrip() != "---" or not fence:
        raise ConfigError(f"{path}:1: a template begins with front matter between two --- lines")
    try:
        fields = yaml.safe_load(front)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: front matter: {' '.join(str(error).split())}") from error
    if not isinstance(fields, dict):
        raise ConfigError(f"{path}:2: front matter is a mapping with name and version")
    for name in fields:
        if name not in _FRONT_MATTER:
            raise ConfigError(f"{path}: front matter: {name}{nearest(str(name), _FRONT_MATTER)}")
    for name in ("name", "version"):
        if not fields.get(name):
            raise ConfigError(f"{path}: front matter: {name} is missing")
    if not body.strip():
        raise ConfigError(f"{path}: no message below the front matter")
    return PromptSource(
        name=str(fields["name"]),
        version=str(fields["version"]),
        body=body,
        system=str(fields.get("system") or "").strip(),
        path=path,
        first_line=front.count("\n") + 4,
        max_words=max_words,
    )


def _check_names(path: str, text: str, first_line: int) -> None:
    try:
        tree = _environment.parse(text)
        _compiled(text)
    except TemplateSyntaxError as error:
        raise ConfigError(f"{path}:{first_line + error.lineno - 1}: {error.message}") from error
    for other in tree.find_all((nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)):
        raise ConfigError(
            f"{path}:{first_line + other.lineno - 1}: a prompt is one file; it includes no other"
        )
    unknown = meta.find_undeclared_variables(tree) - FIELDS
    for node in tree.find_all(nodes.Name):
        if node.name in unknown:
            raise ConfigError(
                f"{path}:{first_line + node.lineno - 1}: no field {node.name!r} in a record"
                f"{nearest(node.name, FIELDS)}; columns of your own are extra.<name>"
            )


def _try_out(source: PromptSource) -> None:
    """Renders an invented record, which finds misspelt attributes such as `passage.txt`."""
    if any(
        name.name == "extra"
        for text in (source.system, source.body)
        for name in _environment.parse(text).find_all(nodes.Name)
    ):
        return  # only real records can tell which extra columns there are
    try:
        render(source, _SAMPLE)
    except Fault as fault:
        raise ConfigError(fault.detail) from fault


@lru_cache(maxsize=16)
def _compiled(text: str) -> Template:
    return _environment.from_string(text)


def _line_of(source: PromptSource, error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    lines = [f.lineno for f in frames if f.filename == "<template>" and f.lineno]
    return f"{source.path}:{source.first_line + lines[-1] - 1}" if lines else source.path
