"""Parameters of a check: the arguments that its `test` takes by name, from the job file."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, get_type_hints

from pydantic import ConfigDict, ValidationError, create_model

from pipeline.core.errors import ConfigError, nearest


def checked_parameters(
    key: str, test: Callable[..., Any], given: Mapping[str, Any]
) -> dict[str, Any]:
    """The given parameters as `test` declares them.

    Raises `ConfigError` for one that it does not take, one of another type, and one that it needs.
    """
    known = _declared(test)
    for name in given:
        if name not in known:
            hint = nearest(name, known) if known else "; it takes none"
            raise ConfigError(f"checks.{key}.{name}: no such parameter{hint}")
    model = create_model("parameters", __config__=_STRICT, **known)
    try:
        values = model.model_validate(dict(given))
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        name = ".".join(map(str, fault["loc"]))
        why = "missing; the check needs it" if fault["type"] == "missing" else fault["msg"].lower()
        shown = "" if fault["type"] == "missing" else f" (it is {fault['input']!r})"
        raise ConfigError(f"checks.{key}.{name}: {why}{shown}") from None
    return {name: getattr(values, name) for name in given}


_STRICT = ConfigDict(extra="forbid", arbitrary_types_allowed=True, protected_namespaces=())


def _declared(test: Callable[..., Any]) -> dict[str, Any]:
    """Type and default of every argument that is taken by name alone."""
    parameters = inspect.signature(test).parameters.values()
    try:
        hints = get_type_hints(test, include_extras=True)
    except Exception:  # noqa: BLE001  an annotation that names nothing says nothing about a type
        hints = {}
    return {
        p.name: (hints.get(p.name, Any), ... if p.default is p.empty else p.default)
        for p in parameters
        if p.kind is p.KEYWORD_ONLY
    }
