"""The sandbox in which templates run: columns win over methods, and only text is printed.

What has no text of its own, such as a method, an iterator or an object with an address, raises
where it would become text: in an output, in a concatenation, by a filter or by `format`. A prompt
with an address in it would have another key in every process.
"""

from collections.abc import Callable, ItemsView, Iterator, KeysView, ValuesView
from functools import wraps
from typing import Any, NoReturn

from jinja2 import StrictUndefined, Undefined, nodes, pass_context
from jinja2.compiler import CodeGenerator, Frame
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import SandboxedEnvironment
from jinja2.utils import Cycler, Joiner

from pipeline.core.records import Passage

LAZY_FILTERS = frozenset(
    ("batch", "items", "map", "reject", "rejectattr", "select", "selectattr", "slice", "unique")
)
"""Filters that give an iterator, whatever they are given."""

UNREPEATABLE = frozenset(("random", "lipsum"))
"""A filter and a function of Jinja that give another text every time; templates have neither."""

_FIELDS = {
    Passage: frozenset(Passage._fields),
    LoopContext: frozenset(("first", "index", "index0", "last", "length")),
}
"""Attributes asked for often, and safe: Jinja's own way takes ten times as long."""


class NoText(TypeError):
    """Raised where a template would print what has no text."""


class Strict(StrictUndefined):
    """Something undefined, which may not be printed within a list either."""

    __slots__ = ()
    __repr__ = StrictUndefined._fail_with_undefined_error


class Method(Strict):
    """A method: undefined as a value, and there only to be called."""

    __slots__ = ("method",)

    method: Callable[..., Any]


class Lazy(Iterator[Any]):
    """What a filter gives piece by piece."""

    def __init__(self, items: Iterator[Any]) -> None:
        self._items = items

    def __next__(self) -> Any:
        return next(self._items)

    def __repr__(self) -> str:
        raise NoText("an iterator has no text; add | list or | join")


def _without_text(self: object) -> NoReturn:
    raise NoText(f"{_named(self)} has no text")


class _Cycler(Cycler):
    __repr__ = _without_text


class _Joiner(Joiner):
    __repr__ = _without_text


class _Code(CodeGenerator):
    """Looks up what is called as a method, so that a column of its name does not hide it."""

    def visit_Call(self, node: nodes.Call, frame: Frame, forward_caller: bool = False) -> None:
        if isinstance(called := node.node, nodes.Getattr):
            lookup = nodes.EnvironmentAttribute("method_of")
            name = nodes.Const(called.attr)
            arguments = [called.node, name]
            node.node = nodes.Call(lookup, arguments, [], None, None, lineno=called.lineno)
        super().visit_Call(node, frame, forward_caller=forward_caller)


class PromptEnvironment(SandboxedEnvironment):
    """Jinja's sandbox for templates over JSON-shaped values."""

    code_generator_class = _Code

    def __init__(self) -> None:
        super().__init__(
            undefined=Strict,
            finalize=printable,
            autoescape=False,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.filters = {
            name: _lazily(function)
            for name, function in self.filters.items()
            if name not in UNREPEATABLE
        }
        functions: dict[str, Any] = {**self.globals, "cycler": _Cycler, "joiner": _Joiner}
        self.globals = {
            name: _only_called(function, f"{name!r} is a function: {name}()")
            for name, function in functions.items()
            if name not in UNREPEATABLE
        }

    def getattr(self, obj: Any, attribute: str) -> Any:
        """`obj.attribute`: the column of that name before anything else."""
        if attribute in _FIELDS.get(type(obj), ()):
            return getattr(obj, attribute)
        if isinstance(obj, dict) and attribute in obj:
            return obj[attribute]
        return self._as_value(super().getattr(obj, attribute), obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """`obj[argument]`; `extra.2019` is parsed as such, with a number for the column's name."""
        if isinstance(obj, dict) and type(argument) is int and argument not in obj:
            argument = str(argument)
        return self._as_value(super().getitem(obj, argument), obj, argument)

    def method_of(self, obj: Any, name: str) -> Any:
        """What `obj.name()` calls: no column can be called, so a method wins here."""
        found = super().getattr(obj, name)
        return found if callable(found) else self.getattr(obj, name)

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        called = obj.method if isinstance(obj, Method) else obj
        return super().call(context, called, *args, **kwargs)

    def _as_value(self, value: Any, obj: Any, name: Any) -> Any:
        if not callable(value) or isinstance(value, Undefined):
            return value
        return _only_called(value, f"{name!r} is no field of {_named(obj)}, but a method: {name}()")


@pass_context  # so that constants are printed at runtime too, where the line of a fault is known
def printable(context: Context, value: Any) -> Any:
    """The value, if it is JSON-shaped; `NoText` if it has no text that is always the same."""
    if type(value) is not str:
        _check_printable(value)
    return value


def _check_printable(value: Any) -> None:
    match value:
        case None | str() | int() | float():
            return
        case dict():
            _check_printable([*value.keys(), *value.values()])
        case list() | tuple():
            for item in value:
                _check_printable(item)
        case Undefined() | Lazy():
            str(value)  # which raises
        case range() | KeysView() | ValuesView() | ItemsView():
            raise NoText(f"{_named(value)} has no text; add | list or | join")
        case _:
            raise NoText(f"{_named(value)} has no text")


def _only_called(function: Callable[..., Any], why: str) -> Method:
    method = Method(why)
    method.method = function
    return method


def _lazily(function: Callable[..., Any]) -> Callable[..., Any]:
    """The filter, with an iterator that it gives as `Lazy`."""

    @wraps(function)
    def filtered(*args: Any, **kwargs: Any) -> Any:
        value = function(*args, **kwargs)
        return Lazy(value) if isinstance(value, Iterator) else value

    return filtered


def _named(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "text", int: "a number", float: "a number"}
    return names.get(type(value)) or f"a value of type {type(value).__name__.strip('_')}"
