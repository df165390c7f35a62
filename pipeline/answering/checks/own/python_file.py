"""A check in a Python file of the user's, with `LEVEL` and `test` as our own have them.

Its source is read once, where the job is loaded, and compiled once in each process, so that no
other machine needs the file. It runs with all that a Python program may do.
"""

import inspect
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from pathlib import PurePath
from types import ModuleType
from typing import Any, cast, get_args

from pipeline.answering.checks.base import Finding, NotStored, Subject, quote
from pipeline.answering.checks.own.imports import check_imports
from pipeline.core.disk import read_text
from pipeline.core.errors import ConfigError, describe, nearest
from pipeline.core.records import Ask, Level, Repair

LEVELS: tuple[Level, ...] = ("fail", "label")
_REPAIRS = tuple(a for repair in get_args(Repair) for a in get_args(repair))


@dataclass(frozen=True, slots=True)
class PythonFile:
    """The test in a file, as text; `path` is the one in the job file, for messages."""

    path: str
    source: str
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, subject: Subject) -> Finding:
        """What `test` finds; a fault in it is a finding too. Raises `NotStored`."""
        try:
            with redirect_stdout(sys.stderr):  # stdout may be the command's own
                test = module_of(self.path, self.source).test
                return self._shown(test(subject.copied(), **self.parameters))
        except (KeyboardInterrupt, NotStored):
            raise
        except BaseException as error:  # noqa: BLE001  sys.exit() and a cancellation, too
            return Finding(False, quote(_text(_described(self.path, error))))

    def _shown(self, finding: object) -> Finding:
        """A test's result as ours are: short evidence, or what is wrong with the result."""
        if fault := _fault(finding):
            return Finding(False, quote(f"{self.path}: test returned {fault}"))
        passed, evidence, repair, _ = cast(Finding, finding)
        if isinstance(repair, Ask):
            repair = Ask(_text(repair.words))
        return Finding(passed, quote(_text(evidence)), repair)


def load_file(path: str) -> tuple[str, ModuleType]:
    """The source of a check's file and its module, which this runs once.

    Raises `ConfigError`, with file and line, for a file that cannot be read, compiled or run, and
    for one without a `test` of a subject.
    """
    try:
        source = read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"checks: {path}: the check cannot be read: {error}") from error
    check_imports(path, source)
    try:
        with redirect_stdout(sys.stderr):
            module = module_of(path, source)
    except KeyboardInterrupt:
        raise
    except SyntaxError as error:
        raise ConfigError(f"{path}:{error.lineno or 1}: {error.msg}") from error
    except BaseException as error:
        raise ConfigError(_described(path, error)) from error
    _check_test(path, module)
    if getattr(module, "LEVEL", "label") not in LEVELS:
        raise ConfigError(f"{path}: LEVEL is {module.LEVEL!r}; write one of {', '.join(LEVELS)}")
    return source, module


def _check_test(path: str, module: ModuleType) -> None:
    test = getattr(module, "test", None)
    if not callable(test):
        own = [name for name, value in vars(module).items() if inspect.isfunction(value)]
        hint = nearest("test", own) if own else ""
        raise ConfigError(f"{path}: no function test(subject), which a check needs{hint}")
    code = getattr(test, "__code__", None)
    where = f"{path}:{code.co_firstlineno}" if code else path
    if inspect.iscoroutinefunction(test) or inspect.isgeneratorfunction(test):
        raise ConfigError(f"{where}: test must be a plain function that returns a Finding")
    if not _takes_a_subject(test):
        raise ConfigError(
            f"{where}: test takes one subject; parameters stand behind a *, as in "
            "test(subject, *, most=3)"
        )


def _takes_a_subject(test: Callable[..., Any]) -> bool:
    parameters = inspect.signature(test).parameters.values()
    named = {p.name: None for p in parameters if p.kind is p.KEYWORD_ONLY}
    try:
        inspect.signature(test).bind(None, **named)
    except TypeError:
        return False
    return True


@lru_cache(maxsize=256)
def module_of(path: str, source: str) -> ModuleType:
    """The module of a source, run for the first time in this process."""
    digest = blake2b(source.encode(errors="replace"), digest_size=8).hexdigest()
    module = ModuleType(f"own_check_{PurePath(path).stem}_{digest}")
    module.__file__ = path
    sys.modules[module.__name__] = module  # where dataclasses and the like look for it
    exec(compile(source, path, "exec", dont_inherit=True), module.__dict__)  # noqa: S102
    return module


def _described(path: str, error: BaseException) -> str:
    """The file and the last of its lines that led to an error, and the error."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == path and frame.lineno]
    try:
        what = describe(error)
    except Exception:  # noqa: BLE001  an error of one's own may have no text
        what = type(error).__name__
    return f"{path}:{lines[-1]}: {what}" if lines else f"{path}: {what}"


def _fault(finding: object) -> str | None:
    """What is wrong with a test's result, in words."""
    if not isinstance(finding, Finding):
        return f"{_kind(finding)}, not a Finding"
    if not isinstance(finding.passed, bool):
        return f"a Finding whose passed is {_kind(finding.passed)}, not True or False"
    if not isinstance(finding.evidence, str):
        return f"a Finding whose evidence is {_kind(finding.evidence)}, not text"
    if finding.repair is None or finding.repair in _REPAIRS:
        return None
    if isinstance(finding.repair, Ask) and isinstance(finding.repair.words, str):
        return None
    return f"a Finding whose repair is {_kind(finding.repair)}, not an Ask or {_REPAIRS}"


def _kind(value: object) -> str:
    return "None" if value is None else f"a value of type {type(value).__name__}"


def _text(text: str) -> str:
    """Text without halves of surrogate pairs, which neither a store nor a model takes."""
    return text.encode(errors="replace").decode()
