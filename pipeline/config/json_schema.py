"""Reads and checks a JSON Schema, by default of draft 2020-12."""

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from pipeline.core.disk import read_bytes
from pipeline.core.text import quote

_SAMPLES: tuple[Any, ...] = ({}, [], "", 0, None)


def read_schema(value: Any) -> Any:
    """A schema that is written out in the job file, or the one in the file that it names.

    Raises `ValueError` with the reason for what is no schema.
    """
    schema, where = value, ""
    if isinstance(value, str):
        where = f"{value}: "
        try:
            schema = orjson.loads(read_bytes(value))
        except (OSError, orjson.JSONDecodeError) as error:
            raise ValueError(f"{where}the schema cannot be read: {error}") from error
    if schema is not None and (fault := schema_fault(schema)):
        raise ValueError(f"{where}{fault}")
    return schema


def validator_class(schema: Any) -> Any:
    """The library's class for the draft that a schema names."""
    from jsonschema import Draft202012Validator
    from jsonschema.validators import validator_for

    return validator_for(schema, default=Draft202012Validator)


def schema_fault(schema: Any) -> str | None:
    """Why something is no schema that a decoder and a validator can follow; None if it is one."""
    from jsonschema import SchemaError

    if not isinstance(schema, dict):
        return "a schema is an object"
    try:
        validator_class(schema).check_schema(schema)
    except SchemaError as error:
        return f"at {error.json_path}: {quote(error.message)}"
    for reference in _references(schema):
        if part_at(schema, reference) is None:
            return f"$ref {reference!r}: no such part of the same schema, as in #/$defs/author"
    return _endless(schema)


def _endless(schema: Any) -> str | None:
    validator = validator_class(schema)(schema)
    try:
        for value in _SAMPLES:
            list(validator.iter_errors(value))
    except RecursionError:
        return "its references go round in a circle"
    return None


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"]
        schema = list(schema.values())
    if isinstance(schema, list):
        for part in schema:
            yield from _references(part)


def part_at(schema: Any, reference: str) -> Any:
    """The part of a schema that a reference names; None if it has no such part."""
    start, *names = reference.split("/")
    if start != "#":
        return None
    for name in names:
        inner = name.replace("~1", "/").replace("~0", "~")
        schema = schema.get(inner) if isinstance(schema, Mapping) else None
    return schema
