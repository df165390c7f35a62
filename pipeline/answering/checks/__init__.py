"""Checks: tests of an answer, with evidence. One file per check; a new file is a new check.

A check has the name of its module. The module defines `LEVEL`, the check's level unless the job
file sets one, and `test`, which takes a `Subject` and returns a `Finding`. If the answer does not
pass, the finding may also say what the next attempt should do, such as which words to send to the
model. What `test` takes by name beside the subject are parameters, which the job file may set.
With `OF_PROSE = True` a check steps aside for an answer that is no prose: a choice, or a document
without fields that are marked as prose.

Checks of the user's own are in `own`: a Python file, or what the job file declares.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from pipeline.answering.check_parameters import checked_parameters
from pipeline.answering.checks.base import Finding, NotStored, Subject
from pipeline.answering.checks.base import quote as quote
from pipeline.answering.checks.own.expression import ExpressionTest
from pipeline.answering.checks.own.pattern import PatternTest
from pipeline.answering.checks.own.python_file import PythonFile, load_file
from pipeline.config.checks import (
    ExpressionCheck,
    PatternCheck,
    Settings,
    Tuned,
    check_name,
    is_file,
    level_of,
)
from pipeline.core.errors import ConfigError, describe, nearest
from pipeline.core.records import Ask as Ask
from pipeline.core.records import CheckResult, Level, Repair
from pipeline.prompting.keys import canonical, short_digest


@dataclass(frozen=True, slots=True)
class Check:
    """A check at its level; `digest` tells the versions of one of the user's own apart."""

    name: str
    level: Level
    test: Callable[[Subject], Finding]
    of_prose: bool = False  # whether it steps aside where the answer is no prose
    digest: str | None = None


Unknown = Callable[[Check, Subject, NotStored], Finding]
"""What becomes of a check that asks for what a recheck does not know."""


def known_checks() -> dict[str, Check]:
    """Every check in this folder, by name, at its default level."""
    modules = (
        (info.name, import_module(f"{__name__}.{info.name}"))
        for info in iter_modules(__path__)
        if info.name != "base" and not info.ispkg
    )
    return {
        name: Check(name, module.LEVEL, module.test, getattr(module, "OF_PROSE", False))
        for name, module in modules
    }


def check_names(settings: Settings) -> set[str]:
    """The names of all checks that there are for a job."""
    return {*known_checks(), *map(check_name, settings)}


def chosen_checks(settings: Settings) -> tuple[Check, ...]:
    """All checks but those at level `off`: ours by name, then the user's own in their order.

    Reads the files of the user's own. Raises `ConfigError` for a name that is no check, or is one
    of ours and of the user's own, and for what is wrong with a check or a parameter.
    """
    ours = known_checks()
    own = [
        _own(key, setting, ours)
        for key, setting in settings.items()
        if (key not in ours or not isinstance(setting, (str, Tuned)))
        and not (_is_own(key, setting) and level_of(setting) == "off")
    ]
    tuned = (_tuned(check, settings.get(check.name)) for check in ours.values())
    return tuple(check for check in (*tuned, *own) if check.level != "off")


def _is_own(key: str, setting: Any) -> bool:
    return is_file(key) or isinstance(setting, PatternCheck | ExpressionCheck)


def _tuned(check: Check, setting: Any) -> Check:
    test, level = check.test, level_of(setting) or check.level
    if isinstance(setting, Tuned):
        test = partial(test, **checked_parameters(check.name, test, setting.parameters))
    return replace(check, level=level, test=test)


def _own(key: str, setting: Any, ours: Mapping[str, Check]) -> Check:
    if (name := check_name(key)) in ours:
        raise ConfigError(f"checks.{key}: {name} is a check of ours; give yours another name")
    match setting:
        case PatternCheck(level=level, pattern=pattern, must=must):
            said = canonical([pattern, must])
            return Check(name, level, PatternTest.of(name, setting), digest=short_digest(said))
        case ExpressionCheck(level=level, expression=expression):
            said = canonical(expression)
            return Check(name, level, ExpressionTest.of(name, setting), digest=short_digest(said))
        case _ if is_file(key):
            return _of_file(key, name, setting)
        case _:
            raise ConfigError(f"checks.{key}: no such check{nearest(key, ours)}")


def _of_file(path: str, name: str, setting: Any) -> Check:
    source, module = load_file(path)
    given = setting.parameters if isinstance(setting, Tuned) else {}
    parameters = checked_parameters(path, module.test, given)
    said = source + (repr(sorted(given.items())) if given else "")
    own: Level = getattr(module, "LEVEL", "label")
    return Check(
        name,
        level_of(setting) or own,
        PythonFile(path, source, parameters),
        digest=short_digest(said.encode()),
    )


def digests_of(checks: tuple[Check, ...]) -> dict[str, str]:
    """The digest of each check of the user's own, by name."""
    return {check.name: check.digest for check in checks if check.digest}


def not_known(check: Check, subject: Subject, why: NotStored) -> Finding:
    """An answer does not pass a check that asks for what is not known."""
    return Finding(False, str(why))


def run_checks(
    checks: tuple[Check, ...],
    subject: Subject,
    unknown: Unknown = not_known,
    whole: Subject | None = None,
) -> tuple[tuple[CheckResult, ...], tuple[Repair | None, ...]]:
    """The result of every check, and the repairs of those that make the answer fail.

    Checks of the user's own look at `whole`, where that is not the prose that ours look at.
    """
    results: list[CheckResult] = []
    repairs: list[Repair | None] = []
    for check in checks:
        found = _found(check, whole if whole and check.digest else subject, unknown)
        passed, evidence, repair, claims = found
        results.append(CheckResult(check.name, passed, check.level, evidence, claims))
        if not passed and check.level == "fail":
            repairs.append(repair)
    return tuple(results), tuple(repairs)


def _found(check: Check, subject: Subject, unknown: Unknown) -> Finding:
    try:
        return check.test(subject)
    except NotStored as why:
        return unknown(check, subject, why)
    except Exception as error:  # noqa: BLE001  a fault of a check must not cost a night
        return Finding(False, f"a fault of the check itself: {describe(error)}")
