"""Reads vLLM's source: its engine arguments, and the configurations that they become.

An import of vLLM takes seconds, and a GPU build may not import on a machine without GPUs.
"""

import ast
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from pipeline.core.errors import ConfigError
from pipeline.engines.option_types import LIMITS

ARGUMENTS = "vllm.engine.arg_utils"
CLASSES = ("EngineArgs", "AsyncEngineArgs")
LENGTH = "max_model_len"


@dataclass(frozen=True, eq=False, slots=True)
class Module:
    """A source file, and what its names stand for."""

    tree: ast.Module
    names: Mapping[str, ast.stmt]


class Declared(NamedTuple):
    """A field of a class, and the module that declares it."""

    annotation: ast.expr
    default: ast.expr | None
    module: Module
    is_converted: bool  # a validator sees the value before its type does


@cache
def arguments() -> dict[str, Declared]:
    """The fields of vLLM's engine arguments; `ConfigError` if vLLM is not installed."""
    module = module_of(ARGUMENTS)
    classes = [module.names[name] for name in CLASSES if name in module.names]
    return {
        name: declared
        for class_ in classes
        if isinstance(class_, ast.ClassDef)
        for name, declared in declared_in(class_, module).items()
    }


@cache
def option_names() -> frozenset[str]:
    """The names of vLLM's engine arguments; `ConfigError` if vLLM is not installed."""
    return frozenset(arguments())


@cache
def readable_integers() -> frozenset[str]:
    """The arguments of which vLLM's command line takes `16k` for 16,000 and `16K` for 16,384."""
    for node in ast.walk(module_of(ARGUMENTS).tree):
        match node:
            case ast.Assign(targets=[ast.Name("human_readable_int_args")], value=ast.Set() as set_):
                return frozenset(ast.literal_eval(set_)) | {LENGTH}
    return frozenset({LENGTH})


@cache
def module_of(name: str) -> Module:
    """Raises `ConfigError` without vLLM, and `OSError` for a module that has no source."""
    spec = find_spec("vllm")
    if spec is None or spec.origin is None:
        raise ConfigError("engine.kind: vLLM is not installed here: pip install 'overnight[vllm]'")
    path = Path(spec.origin).parent.joinpath(*name.split(".")[1:])
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    tree = ast.parse(file.read_bytes())
    return Module(tree, dict(_names(tree.body)))


def _names(body: list[ast.stmt]) -> Iterator[tuple[str, ast.stmt]]:
    """What type checkers see goes over what stands there otherwise."""
    for node in body:
        match node:
            case ast.ImportFrom(names=aliases):
                yield from ((alias.asname or alias.name, node) for alias in aliases)
            case ast.Assign(targets=[ast.Name(name)]) | ast.ClassDef(name=name):
                yield name, node
            case ast.AnnAssign(target=ast.Name(name)):
                yield name, node
    for node in body:
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            yield from _names(node.body)


def declared_in(class_: ast.ClassDef, module: Module) -> dict[str, Declared]:
    """The fields of a class, by name."""
    converted = set(_converted(class_))
    return {
        node.target.id: Declared(
            node.annotation, node.value, module, bool(converted & {node.target.id, "*"})
        )
        for node in class_.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }


def _converted(class_: ast.ClassDef) -> Iterator[str]:
    """The fields with a validator that runs before a value's type is looked at."""
    for node in class_.body:
        for decorator in node.decorator_list if isinstance(node, ast.FunctionDef) else ():
            if isinstance(decorator, ast.Call) and "before" in ast.unparse(decorator):
                yield from (str(a.value) for a in decorator.args if isinstance(a, ast.Constant))


def definition(name: str, module: Module) -> tuple[ast.stmt, Module] | None:
    """Where a name of a module is defined, through the imports between vLLM's own."""
    node = module.names.get(name)
    if not isinstance(node, ast.ImportFrom):
        return (node, module) if node else None
    if not (node.module or "").startswith("vllm."):
        return None
    original = next(a.name for a in node.names if (a.asname or a.name) == name)
    with suppress(OSError):
        return definition(original, module_of(str(node.module)))
    return None


def linked(declared: Declared) -> Declared | None:
    """The field of a configuration whose default an argument takes."""
    match declared.default:
        case ast.Attribute(value=ast.Name(class_name), attr=name):
            pass
        case ast.Call(func=ast.Name("get_field"), args=[ast.Name(class_name), ast.Constant(name)]):
            pass
        case _:
            return None
    found = definition(class_name, declared.module)
    if found is None or not isinstance(found[0], ast.ClassDef):
        return None
    return declared_in(found[0], found[1]).get(str(name))


def of_same_name(name: str) -> Declared | None:
    """The field that an argument most likely becomes, if its default does not tell."""
    module = module_of(ARGUMENTS)
    for class_name in sorted(n for n in module.names if n.endswith("Config")):
        match definition(class_name, module):
            case (ast.ClassDef() as class_, home) if name in (fields := declared_in(class_, home)):
                return fields[name]
    return None


def limits_of(default: ast.expr | None) -> Iterator[tuple[str, float]]:
    """The limits that a field's `Field(…)` sets."""
    for keyword in default.keywords if isinstance(default, ast.Call) else ():
        with suppress(ValueError):  # a limit that is no constant
            if keyword.arg in LIMITS:
                yield str(keyword.arg), ast.literal_eval(keyword.value)


def has_default_null(default: ast.expr | None) -> bool:
    """Whether a field is null by default, so that a job file may say so."""
    match default:
        case ast.Constant(value=None):
            return True
        case ast.Call(keywords=keywords):
            return any(k.arg == "default" and has_default_null(k.value) for k in keywords)
    return False
