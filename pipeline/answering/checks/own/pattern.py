"""A check that the job file declares: a regular expression, searched in the answer.

Patterns are RE2's, whose time is in proportion to the answer's length whatever the pattern. A limit
on time would let a verdict depend on how busy a machine is.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pipeline.answering.checks.base import Finding, Subject, quote
from pipeline.config.checks import PatternCheck
from pipeline.core.errors import ConfigError
from pipeline.core.records import Ask


@dataclass(frozen=True, slots=True)
class PatternTest:
    pattern: str
    is_wanted: bool
    ask: str | None

    @classmethod
    def of(cls, name: str, check: PatternCheck) -> "PatternTest":
        """Raises `ConfigError` for a pattern that RE2 does not take."""
        if fault := _fault(check.pattern):
            raise ConfigError(
                f"checks.{name}.pattern: {fault}; RE2's patterns have no look-around and no back "
                f"references (it is {check.pattern!r})"
            )
        return cls(check.pattern, check.must == "match", check.ask)

    def __call__(self, subject: Subject) -> Finding:
        found = _compiled(self.pattern).search(subject.answer.encode())
        if found:
            evidence = f"matches: {quote(found[0].decode(errors='replace'))}"
        else:
            evidence = f"no match of {quote(self.pattern)}"
        passed = bool(found) == self.is_wanted
        return Finding(passed, evidence, None if passed or not self.ask else Ask(self.ask))


def _fault(pattern: str) -> str | None:
    import re2

    try:
        _compiled(pattern)
    except re2.error as error:
        (why,) = error.args
        return why.decode(errors="replace") if isinstance(why, bytes) else str(why)
    except UnicodeEncodeError:
        return "half of a surrogate pair"
    return None


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> Any:
    """For UTF-8: the library counts the characters of a text, which takes as long as the search."""
    import re2

    options = re2.Options()
    options.log_errors = False
    return re2.compile(pattern.encode(), options)
