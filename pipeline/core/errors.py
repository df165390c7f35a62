"""Errors that end a job early, each with its exit code.

Bad *input* never does: it becomes a reject (`pipeline.core.records.Reject`).
"""

import sys
from collections.abc import Iterable
from difflib import get_close_matches

from pipeline.core.redaction import redacted, redacted_values


class OvernightError(Exception):
    """An error for a person to read: what is wrong, where, and what to do about it.

    The message is one or two lines and holds no secret. `exit_code` is that of the process.
    """

    exit_code = 3

    def __init__(self, message: str) -> None:
        self._message = redacted(message)  # Ray appends advice of its own to `args`
        super().__init__(self._message)
        _redact_arguments(sys.exception())

    def __str__(self) -> str:
        return self._message


class ConfigError(OvernightError):
    """The job file, an override or a prompt template is wrong; nothing has started."""

    exit_code = 2


class StorageError(OvernightError):
    """Object storage or a disk failed, after the client's own retries."""


class EngineError(OvernightError):
    """An engine or its cluster failed in a way that retrying does not fix."""


class AccountingError(OvernightError):
    """Records read and records accounted for differ: a bug, never a fault of the input."""


def _redact_arguments(error: BaseException | None) -> None:
    """Redacts an error that is being handled, and its causes: Ray logs the whole chain."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        error.args = tuple(redacted_values(list(error.args)))
        error = error.__cause__ or error.__context__


DESCRIBED_CHARACTERS = 600


def describe(error: BaseException) -> str:
    """An error's type and message in one line, redacted and cut to `DESCRIBED_CHARACTERS`."""
    faults = getattr(error, "errors", None)  # Pydantic's, whose own text fills a page
    text = faults()[0]["msg"] if callable(faults) else " ".join(str(error).split())
    kind = type(error).__name__
    return f"{kind}: {redacted(text)[:DESCRIBED_CHARACTERS]}" if text else kind


def message_of(error: BaseException) -> str:
    """What a person is told of an error: our own words as they are, or another's described."""
    return str(error) if isinstance(error, OvernightError) else describe(error)


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a message on an unknown name: `; did you mean 'x'?`, else all known names."""
    names = sorted(known)
    close = get_close_matches(name, names, n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(names)}"
