"""Tests of an answer, each with evidence. One file a check; a new file is a new check.

A check's module is named as the check is. It holds `LEVEL`, the check's level where the job file
names none, and `test`, which looks at a `Subject` and returns a `Finding`: with the words that go
back to the model, or what else the next attempt should do, where the answer did not pass.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
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


def known_checks() -> dict[str, Check]:
    """Every check in this folder at its default level, by name."""
    modules = (
        (info.name, import_module(f"{__name__}.{info.name}"))
        for info in iter_modules(__path__)
        if info.name != "base"
    )
    return {name: Check(name, module.LEVEL, module.test) for name, module in modules}


def chosen_checks(levels: Mapping[str, Level]) -> tuple[Check, ...]:
    """The checks to run, in order of name: all that are not `off`, at the levels given.

    Raises `ConfigError` for a name that is no check.
    """
    checks = known_checks()
    for name in levels:
        if name not in checks:
            raise ConfigError(f"checks.{name}: no such check{nearest(name, checks)}")
    chosen = (Check(c.name, levels.get(c.name, c.level), c.test) for c in checks.values())
    return tuple(check for check in chosen if check.level != "off")


def run_checks(
    checks: tuple[Check, ...], subject: Subject
) -> tuple[tuple[CheckResult, ...], tuple[Repair | None, ...]]:
    """What every check found, and the repairs of those that make the answer fail."""
    found = [(check, check.test(subject)) for check in checks]
    results = tuple(CheckResult(c.name, f.passed, c.level, f.evidence) for c, f in found)
    return results, tuple(f.repair for c, f in found if not f.passed and c.level == "fail")
