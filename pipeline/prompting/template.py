"""Prompt templates: a file each, with YAML front matter and a Jinja2 user message.

Templates run in a sandbox, where an undefined name is an error, and so is printing anything that
has no text. `load_prompt` finds errors of the template before a run starts; a record without a
field that the template uses is rejected.
"""

import traceback
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from jinja2 import Template, TemplateSyntaxError, UndefinedError, meta, nodes

from pipeline.config.schema import Answer
from pipeline.core.disk import read_text
from pipeline.core.errors import ConfigError, nearest
from pipeline.core.records import PLAIN, Fault, Message, Passage, Place, Record
from pipeline.formats import format_of
from pipeline.formats.base import PromptWords
from pipeline.formats.frame import FRAME
from pipeline.prompting.front_matter import front_matter, split_template
from pipeline.prompting.sandbox import LAZY_FILTERS, UNREPEATABLE, PromptEnvironment

VERBATIM = "verbatim"

_SAMPLE = Record(
    record_id="record",
    place=Place("", 0),
    paper_id="paper",
    question_id="question",
    question="A question?",
    passages=(Passage("Text.", "p. 1"),) * 2,
    messages=(Message(PLAIN, "Text."),),
)

_OWN = "; columns of your own are extra.<name>"

_environment = PromptEnvironment()


@dataclass(frozen=True, slots=True)
class PromptSource:
    """A prompt template as its file has it; with no body, the record's own text."""

    name: str
    version: str
    body: str = ""
    system: str = ""
    path: str = ""
    first_line: int = 1  # of the file, on which `body` begins
    system_line: int = 1  # on which `system` begins
    words: PromptWords = FRAME.prompt_words  # what it may say of the answer's format

    def described(self) -> dict[str, str]:
        """Name, version and text, for the run file."""
        return {name: getattr(self, name) for name in ("name", "version", "system", "body")}

    @property
    def is_verbatim(self) -> bool:
        return self.name == VERBATIM and not self.path

    @property
    def parts(self) -> list[tuple[str, str, int]]:
        """Role, template and first line in the file of each message."""
        both = (("system", self.system, self.system_line), ("user", self.body, self.first_line))
        return [part for part in both if part[1]]

    @property
    def sample(self) -> tuple[Message, ...]:
        """A prompt with the roles of all prompts; empty if each record brings its own messages."""
        return tuple(Message(role, "Text.") for role, _, _ in self.parts)


def load_prompt(template: str, answer: Answer) -> PromptSource:
    """The template at a path, tried on an invented record; or `verbatim`.

    Raises `ConfigError` with file and line for a missing file, broken front matter, a syntax error,
    a field that records do not have, or what prints no text.
    """
    if template == VERBATIM:
        return PromptSource(VERBATIM, "1")
    source = load_source("prompt", template, format_of(answer).prompt_words, FIELDS)
    _try_out(source)
    return source


def load_source(
    key: str, template: str, words: PromptWords, fields: Collection[str]
) -> PromptSource:
    """The template at the path that a `key` of the job names, which may use these `fields`.

    Raises `ConfigError` with file and line.
    """
    try:
        text = read_text(template)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{key}: {template}: the template cannot be read: {error}") from error
    source = _parse(template, text, words)
    for _, text, line in source.parts:
        tree = _tree(template, text, line)
        _check_names(template, tree, line, fields)
        _check_prints(template, tree, line)
    return source


def render(source: PromptSource, record: Record) -> tuple[tuple[Message, ...], str]:
    """A record's messages and their boilerplate; raises `Fault` if a field it needs is missing."""
    if source.is_verbatim:
        is_answer_alone = record.question is None and record.recorded_answer is not None
        if not (record.messages or is_answer_alone):
            raise Fault(
                "missing_field", "no prompt or messages to use verbatim; name a prompt template"
            )
        return record.messages, record.boilerplate
    context = _context(record, source.words)
    return render_parts(source, context), boilerplate_of(source)


def render_parts(source: PromptSource, context: Mapping[str, Any]) -> tuple[Message, ...]:
    """The messages of a template in a context; raises `Fault` if a field it needs is missing."""
    return tuple(
        Message(role, _rendered(source.path, text, line, context))
        for role, text, line in source.parts
    )


def _rendered(path: str, text: str, first_line: int, context: Mapping[str, Any]) -> str:
    try:
        literal = _literal(text)
        content = _compiled(text).render(context) if literal is None else literal
        content.encode()  # half of a surrogate pair, written as an escape, is no text
    except UndefinedError as error:
        raise Fault("missing_field", f"{_place(path, first_line, error)}: {error}") from error
    except Exception as error:  # an expression in a template may raise anything
        raise Fault("wrong_type", f"{_place(path, first_line, error)}: {error}") from error
    return content


@lru_cache(maxsize=16)
def boilerplate_of(source: PromptSource) -> str:
    """The template's literal text and the words of the format, which every prompt contains."""
    literal = (
        node.data
        for text in (source.system, source.body)
        for node in _environment.parse(text).find_all(nodes.TemplateData)
    )
    return "\n".join((*literal, source.words.answer_format))


def _context(record: Record, words: PromptWords) -> dict[str, Any]:
    """A record's fields for a template; missing ones are left undefined."""
    fields = {
        "record_id": record.record_id,
        "paper_id": record.paper_id,
        "question_id": record.question_id,
        "question": record.question,
        "passages": record.passages,
        "prompt": "\n\n".join(m.content for m in record.messages if m.role == PLAIN) or None,
        "extra": record.extra,
        **words._asdict(),
    }
    return {name: value for name, value in fields.items() if value is not None}


FIELDS = frozenset(_context(_SAMPLE, FRAME.prompt_words))


def _parse(path: str, text: str, words: PromptWords) -> PromptSource:
    front, body, first_line = split_template(path, text)
    fields = front_matter(path, front)
    return PromptSource(
        name=fields["name"].text,
        version=fields["version"].text,
        body=body,
        system=fields["system"].text if "system" in fields else "",
        path=path,
        first_line=first_line,
        system_line=fields["system"].line if "system" in fields else 1,
        words=words,
    )


def _tree(path: str, text: str, first_line: int) -> nodes.Template:
    try:
        tree = _environment.parse(text)
        _check_repeatable(tree)
        _compiled(text)
    except TemplateSyntaxError as error:
        raise ConfigError(f"{path}:{first_line + error.lineno - 1}: {error.message}") from error
    return tree


def _check_repeatable(tree: nodes.Template) -> None:
    """Raises `TemplateSyntaxError` for what gives another text every time."""
    for filtered in tree.find_all(nodes.Filter):
        _refuse_unrepeatable(filtered.name, filtered.lineno)
    for name in tree.find_all(nodes.Name):
        _refuse_unrepeatable(name.name, name.lineno)


def _refuse_unrepeatable(name: str, line: int) -> None:
    if name in UNREPEATABLE:
        raise TemplateSyntaxError(f"{name} gives another prompt every time; use a column", line)


def _check_names(path: str, tree: nodes.Template, first_line: int, fields: Collection[str]) -> None:
    for other in tree.find_all((nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)):
        raise ConfigError(
            f"{path}:{first_line + other.lineno - 1}: a prompt is one file; it includes no other"
        )
    unknown = meta.find_undeclared_variables(tree) - {*fields}
    for node in tree.find_all(nodes.Name):
        if node.name in unknown:
            raise ConfigError(
                f"{path}:{first_line + node.lineno - 1}: no field {node.name!r} in a record"
                f"{nearest(node.name, fields)}{_OWN if 'extra' in fields else ''}"
            )


def _check_prints(path: str, tree: nodes.Template, first_line: int) -> None:
    """Whether a filter that gives an iterator is the last one of something printed."""
    for output in tree.find_all(nodes.Output):
        for printed in output.nodes:
            if isinstance(printed, nodes.Filter) and printed.name in LAZY_FILTERS:
                raise ConfigError(
                    f"{path}:{first_line + printed.lineno - 1}: {printed.name} gives an iterator, "
                    "which has no text; add | list or | join"
                )


def _try_out(source: PromptSource) -> None:
    """Renders an invented record, which finds misspelt attributes such as `passage.txt`."""
    if any(
        name.name == "extra"
        for _, text, _ in source.parts
        for name in _environment.parse(text).find_all(nodes.Name)
    ):
        return  # only real records can tell which extra columns there are
    try:
        render(source, _SAMPLE)
    except Fault as fault:
        raise ConfigError(fault.detail) from fault


@lru_cache(maxsize=16)
def _compiled(text: str) -> Template:
    template = _environment.from_string(text)
    template.globals = dict(template.globals)  # each rendering copies them, slowly from a ChainMap
    return template


@lru_cache(maxsize=16)
def _literal(text: str) -> str | None:
    """What a template says of every record alike; None if it names a field."""
    names_fields = any(_environment.parse(text).find_all(nodes.Name))
    return None if names_fields else _compiled(text).render()


def _place(path: str, first_line: int, error: Exception) -> str:
    """File and line of an error in a template."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [f.lineno for f in frames if f.filename == "<template>" and f.lineno]
    return f"{path}:{first_line + lines[-1] - 1}" if lines else path
