"""The types of vLLM's engine arguments, as its source declares them.

What cannot be resolved without an import may be anything: vLLM itself refuses it later.
"""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache

from pipeline.engines.option_types import (
    Anything,
    Choice,
    Fields,
    Limited,
    ListOf,
    MappingOf,
    Nothing,
    Null,
    Number,
    Text,
    Truth,
    Type,
    either,
    parts_of,
)
from pipeline.engines.vllm_source import (
    Declared,
    Module,
    arguments,
    declared_in,
    definition,
    has_default_null,
    limits_of,
    linked,
    of_same_name,
)

_PLAIN: Mapping[str, Type] = {
    "bool": Truth(),
    "int": Number("int"),
    "float": Number("float"),
    "str": Text(),
    "dict": MappingOf(Anything()),
    "list": ListOf(Anything()),
    "None": Null(),
}
_LISTS = {"list", "set", "tuple", "frozenset", "Sequence"}
_MAPPINGS = {"dict", "Mapping"}
_OF_PROGRAMS = {"type", "Callable"}
_ENUMS = {"Enum", "IntEnum", "StrEnum"}


@cache
def option_type(name: str) -> Type:
    """What an engine argument may be: by its own annotation, and by that of the configuration that
    it becomes, with its limits.
    """
    declared = arguments()[name]
    target = linked(declared)
    if target is None and any(isinstance(p, Number) for p in parts_of(_resolved(declared))):
        target = of_same_name(name)
    if target is None:
        return _field(declared)
    own, other = (_resolved(field, target.is_converted) for field in (declared, target))
    type_ = _limited(_narrowed(own, other), target)
    return _or_null(type_, declared, target)


def _narrowed(own: Type, other: Type) -> Type:
    """A type in which "any text" is what another takes of texts, if it names them."""
    choices = [part for part in parts_of(other) if isinstance(part, Choice)]
    if Text() not in parts_of(own) or not choices:
        return own
    return either([*choices, *(part for part in parts_of(own) if part != Text())])


def _resolved(declared: Declared, is_loose: bool = False) -> Type:
    return _type(declared.annotation, declared.module, is_loose)


def _type(node: ast.expr, module: Module, is_loose: bool = False) -> Type:
    match node:
        case ast.Constant(value=None):
            return Null()
        case ast.Constant(value=str(text)):
            return _type(ast.parse(text, mode="eval").body, module, is_loose)
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _union([left, right], module, is_loose)
        case ast.Name(id=name):
            return _PLAIN[name] if name in _PLAIN else _named(name, module, is_loose)
        case ast.Attribute(value=ast.Name("torch")):
            return Nothing()
        case ast.Subscript(value=ast.Name(name), slice=inside):
            parts = inside.elts if isinstance(inside, ast.Tuple) else [inside]
            return _generic(name, parts, module, is_loose)
    return Anything()


def _union(parts: list[ast.expr], module: Module, is_loose: bool) -> Type:
    """Where some texts are named beside any text, the others are those that plugins bring."""
    options = parts_of(either(_type(part, module, is_loose) for part in parts))
    named = [option for option in options if isinstance(option, Choice)]
    if Text() not in options or not named:
        return either(options)
    opened = [replace(option, is_loose=True, is_open=True) for option in named]
    return either([*opened, *(option for option in options if option not in (Text(), *named))])


def _generic(name: str, parts: list[ast.expr], module: Module, is_loose: bool) -> Type:
    match name:
        case "Literal":
            return Choice(tuple(_values(parts, module)), is_loose)
        case "Optional":
            return either([_type(parts[0], module, is_loose), Null()])
        case "Union":
            return _union(parts, module, is_loose)
        case "Annotated":
            return _type(parts[0], module, is_loose)
        case _ if name in _LISTS:
            return ListOf(_type(parts[0], module))
        case _ if name in _MAPPINGS:
            return MappingOf(_type(parts[1], module))
        case _ if name in _OF_PROGRAMS:
            return Nothing()
    return Anything()


def _named(name: str, module: Module, is_loose: bool) -> Type:
    found = definition(name, module)
    match found:
        case (ast.Assign(value=value), home) | (ast.AnnAssign(value=ast.expr() as value), home):
            return _type(value, home, is_loose)
        case (ast.ClassDef() as class_, home):
            return _class(class_, home, is_loose)
    return Anything()


def _values(parts: list[ast.expr], module: Module) -> Iterator[str | int | None]:
    """The values of a `Literal`, which may name others."""
    for part in parts:
        if isinstance(part, ast.Constant):
            yield part.value  # type: ignore[misc]
        elif isinstance(part, ast.Name) and (found := definition(part.id, module)):
            node, home = found
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Subscript):
                inside = node.value.slice
                yield from _values(inside.elts if isinstance(inside, ast.Tuple) else [inside], home)


def _class(class_: ast.ClassDef, module: Module, is_loose: bool) -> Type:
    bases = {ast.unparse(base).rpartition(".")[2] for base in class_.bases}
    if bases & _ENUMS:
        names = [*_members(class_, has_names="IntEnum" not in bases or is_loose)]
        return Choice((*names, *(["auto"] if is_loose else [])), is_loose=True)
    decorators = {ast.unparse(d).partition("(")[0] for d in class_.decorator_list}
    if bases or not decorators & {"config", "dataclass"} or "before" in _model_validators(class_):
        return Anything()
    fields = declared_in(class_, module).items()
    return Fields({name: _field(declared) for name, declared in fields if name[0] != "_"})


def _members(class_: ast.ClassDef, has_names: bool) -> Iterator[str | int]:
    """What stands for the members of an enumeration: their names, or values."""
    for node in class_.body:
        match node:
            case ast.Assign(targets=[ast.Name(name)], value=ast.expr() as value):
                if has_names:
                    yield name
                elif isinstance(value, ast.Constant) and isinstance(value.value, str | int):
                    yield value.value


def _model_validators(class_: ast.ClassDef) -> str:
    functions = (node for node in class_.body if isinstance(node, ast.FunctionDef))
    decorators = (ast.unparse(d) for f in functions for d in f.decorator_list)
    return " ".join(text for text in decorators if text.startswith("model_validator"))


def _field(declared: Declared) -> Type:
    """A field that nothing but its own declaration decides."""
    if declared.is_converted:
        return Anything()
    return _or_null(_limited(_resolved(declared), declared), declared)


def _or_null(type_: Type, *declared: Declared) -> Type:
    is_null = any(has_default_null(field.default) for field in declared)
    return either([type_, Null()] if is_null else [type_])


def _limited(type_: Type, declared: Declared) -> Type:
    """A type with its numbers within the limits of the field's `Field(…)`."""
    limits = tuple(limits_of(declared.default))
    parts = parts_of(type_) if limits else [type_]
    return either(Limited(p, limits) if limits and isinstance(p, Number) else p for p in parts)
