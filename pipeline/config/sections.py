"""What all sections of a job file have in common, and a look-up of their keys."""

from collections.abc import Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict
from pydantic.fields import FieldInfo

SECTION = ConfigDict(extra="forbid", frozen=True, validate_default=True, serialize_by_alias=True)


def yaml_off(value: Any) -> Any:
    """YAML 1.1 reads an unquoted `off` as false."""
    return "off" if value is False else value


def with_defaults(data: dict[str, Any], section: type[BaseModel]) -> dict[str, Any]:
    """The data without sections that are empty, as when all their keys are commented out."""
    filled = dict(data)
    for name, field in section.model_fields.items():
        inner = _section_of(field.annotation)
        if isinstance(filled.get(name), dict) and inner is not None:
            filled[name] = with_defaults(filled[name], inner)
        elif filled.get(name, ...) is None and _is_section(field):
            del filled[name]
            if field.is_required():
                filled[name] = {}
    return filled


def _is_section(field: FieldInfo) -> bool:
    """Whether a field holds keys of its own, rather than a value that may be null."""
    if NoneType in get_args(field.annotation):
        return False
    return get_origin(field.annotation) is dict or _section_of(field.annotation) is not None


def known_keys(section: type[BaseModel], parents: Sequence[int | str]) -> list[str]:
    """The keys of the section within `section` to which `parents` lead."""
    for parent in parents:
        section = _section_of(section.model_fields[str(parent)].annotation) or section
    return [field.alias or name for name, field in section.model_fields.items()]


def _section_of(annotation: Any) -> type[BaseModel] | None:
    """The section's class inside `X | None`, `Annotated[X, …]` and the like."""
    if get_origin(annotation) in (Union, UnionType, Annotated):
        return next((s for a in get_args(annotation) if (s := _section_of(a))), None)
    is_class = isinstance(annotation, type) and get_origin(annotation) is None
    return annotation if is_class and issubclass(annotation, BaseModel) else None
