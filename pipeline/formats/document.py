"""An answer that is a JSON document and follows a schema (JSON Schema, by default draft 2020-12).

Of the schema's text fields those with `"x-prose": true` are prose: word limits and the checks of
prose look at them.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from typing import Any

import orjson

from pipeline.config.json_schema import part_at, validator_class
from pipeline.core.records import Completion, Level
from pipeline.core.text import quote
from pipeline.formats.base import Extracted, Fault, PromptWords, Schema
from pipeline.formats.end_tokens import without_end_tokens

PROSE = "x-prose"

MOST_BEGINNINGS = 64
"""Places in a text at which a document may begin, at most: each costs a look at the rest of it."""

MOST_FAULTS = 3
"""Faults of a document that go back to the model at a time."""


@dataclass(frozen=True)
class Document:
    """A document by `schema`; `max_words` is for its prose."""

    schema: Mapping[str, Any]
    max_words: int
    level: Level = "fail"  # what does not follow the schema is no answer

    @property
    def identity(self) -> Any:
        return self.schema

    @property
    def prompt_words(self) -> PromptWords:
        words = "Answer with one JSON document that follows this JSON Schema, and nothing else"
        return PromptWords(0, f"{words}: {orjson.dumps(self._plain).decode()}")

    @property
    def constraint(self) -> Schema:
        return Schema(self._plain)

    def extract(self, content: str) -> Extracted:
        text = without_end_tokens(content).strip()
        found = self._found(text)
        if found is None:
            return Extracted(text, None)
        (document,) = found
        prose = list(self._prose(self.schema, document))
        as_json = orjson.dumps(document).decode()
        return Extracted(as_json, "\n\n".join(prose) if prose else None, as_json)

    def fault(self, content: str) -> Fault | None:
        text = without_end_tokens(content).strip()
        found = self._found(text)
        if found is None:
            ask = "Give your answer again as one JSON document, with nothing before or behind it."
            return Fault(f"no JSON document: {quote(text)}", ask)
        faults = [f"at {e.json_path}: {quote(e.message)}" for e in self._errors(found[0])]
        if not faults:
            return None
        some = "; ".join(faults[:MOST_FAULTS])
        ask = f"Your answer does not follow the schema {some}. Give the whole document again."
        return Fault(f"against the schema {some}", ask)

    def closed(self, completion: Completion) -> Completion:
        return completion

    def _found(self, text: str) -> tuple[Any] | None:
        """The document in a text: the first that follows the schema, or else the first."""
        first: tuple[Any] | None = None
        for document in _documents(text):
            try:
                if not self._errors(document):
                    return (document,)
            except RecursionError:  # deeper than a schema that refers to itself can be followed
                continue
            first = first or (document,)
        return first

    def _errors(self, document: Any) -> list[Any]:
        from jsonschema.exceptions import relevance

        return sorted(self._validator.iter_errors(document), key=relevance, reverse=True)

    @cached_property
    def _validator(self) -> Any:
        return validator_class(self.schema)(self.schema)

    @cached_property
    def _plain(self) -> Any:
        return _without_marks(self.schema)

    def _prose(self, schema: Any, value: Any) -> Iterator[str]:
        """The texts of a value that its schema marks as prose."""
        if not isinstance(schema, Mapping):
            return
        if isinstance(value, str) and schema.get(PROSE) is True:
            yield value
        referred = [part_at(self.schema, schema["$ref"])] if "$ref" in schema else []
        for inner in (*referred, *schema.get("allOf", ())):
            yield from self._prose(inner, value)
        if isinstance(value, dict):
            for name, part in value.items():
                yield from self._prose(schema.get("properties", {}).get(name), part)
        if isinstance(value, list):
            for part in value:
                yield from self._prose(schema.get("items"), part)


def _without_marks(schema: Any) -> Any:
    """A schema without our own keyword, which decoders need not know."""
    if isinstance(schema, dict):
        return {k: _without_marks(v) for k, v in schema.items() if not _is_mark(k, v)}
    return [_without_marks(part) for part in schema] if isinstance(schema, list) else schema


def _is_mark(key: str, value: Any) -> bool:
    return key == PROSE and isinstance(value, bool)


def _documents(text: str) -> Iterator[Any]:
    """The JSON objects and lists in a text, from outside in and front to back.

    What Python reads and no Parquet file or other reader of JSON could hold is none: numbers beyond
    64 bits or infinite ones, half of a surrogate pair, and very deep nesting.
    """
    decoder = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite)
    at = looked_at = 0
    while looked_at < MOST_BEGINNINGS and (at := _next_beginning(text, at)) >= 0:
        looked_at += 1
        try:
            document, end = decoder.raw_decode(text, at)
            orjson.dumps(document)
        except (ValueError, TypeError, RecursionError):
            at += 1
            continue
        at = end
        yield document


def _next_beginning(text: str, start: int) -> int:
    return min((at for at in (text.find("{", start), text.find("[", start)) if at >= 0), default=-1)


def _finite(number: str) -> float:
    value = float(number)
    return value if isfinite(value) else _refuse(number)


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")
