"""Checks: tests of an answer, with evidence. One file per check; a new file is a new check.

A check has the name of its module. The module defines `LEVEL`, the check's level unless the job
file sets one, and `test`, which takes a `Subject` and returns a `Finding`. If the answer does not
pass, the finding may also say what the next attempt should do, such as which words to send to the
model. With `OF_PROSE = True` a check steps aside for an answer that is no prose: a choice, or a
document without fields that are marked as prose.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from pkgutil import iter_modules

from pipeline.answering.checks.base import Finding, Subject
from pipeline.core.errors import ConfigError, nearest
from pipeline.core.records import CheckResult, Level, Repair


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    level: Level
    test: Callable[[Subject], Finding]
    of_prose: bool = False  # whether it steps aside where the answer is no prose


def known_checks() -> dict[str, Check]:
    """Every check in this folder, by name, at its default level."""
    modules = (
        (info.name, import_module(f"{__name__}.{info.name}"))
        for info in iter_modules(__path__)
        if info.name != "base"
    )
    return {
        name: Check(name, module.LEVEL, module.test, getattr(module, "OF_PROSE", False))
        for name, module in modules
    }


def chosen_checks(levels: Mapping[str, Level]) -> tuple[Check, ...]:
    """All checks but those at level `off`, by name; `ConfigError` for a name that is no check."""
    checks = known_checks()
    for name in levels:
        if name not in checks:
            raise ConfigError(f"checks.{name}: no such check{nearest(name, checks)}")
    chosen = (replace(c, level=levels.get(c.name, c.level)) for c in checks.values())
    return tuple(check for check in chosen if check.level != "off")


def run_checks(
    checks: tuple[Check, ...], subject: Subject
) -> tuple[tuple[CheckResult, ...], tuple[Repair | None, ...]]:
    """The result of every check, and the repairs of those that make the answer fail."""
    findings = [(check, check.test(subject)) for check in checks]
    results = tuple(CheckResult(c.name, f.passed, c.level, f.evidence) for c, f in findings)
    return results, tuple(f.repair for c, f in findings if not f.passed and c.level == "fail")
