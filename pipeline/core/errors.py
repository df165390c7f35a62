"""The ways a job can end early, each with its exit code.

Bad *input* is never one of them: it becomes a reject (`pipeline.core.records.Reject`).
"""

import sys
from collections.abc import Iterable
from difflib import get_close_matches

from pipeline.core.redaction import redacted, redacted_values


class OvernightError(Exception):
    """An error meant for a person: what is wrong, where, and the way out.

    The message is one or two lines and holds no secret; `exit_code` is what the process returns.
    """

    exit_code = 3

    def __init__(self, message: str) -> None:
        self._message = redacted(message)  # Ray adds advice of its own to the arguments
        super().__init__(self._message)
        _hide_in(sys.exception())

    def __str__(self) -> str:
        return self._message


class ConfigError(OvernightError):
    """The job file, an override or a prompt template is wrong; nothing was started."""

    exit_code = 2


class StorageError(OvernightError):
    """Object storage or a disk failed after the client's own retries."""


class EngineError(OvernightError):
    """An engine or the cluster below it failed in a way that no retry mends."""


class AccountingError(OvernightError):
    """Records read and records accounted for differ: a bug, never a condition of the input."""


def _hide_in(error: BaseException | None) -> None:
    """Takes secrets out of what one of ours is raised for: Ray writes both into its logs."""
    met: set[int] = set()
    while error is not None and id(error) not in met:
        met.add(id(error))
        error.args = tuple(redacted_values(list(error.args)))
        error = error.__cause__ or error.__context__


DESCRIBED_CHARACTERS = 600


def describe(error: BaseException) -> str:
    """An error in one line, with its kind where the text alone would not say."""
    faults = getattr(error, "errors", None)  # Pydantic's list, whose text is a page
    text = faults()[0]["msg"] if callable(faults) else " ".join(str(error).split())
    kind = type(error).__name__
    return f"{kind}: {redacted(text)[:DESCRIBED_CHARACTERS]}" if text else kind


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or all known names where none is close; ends a message."""
    names = sorted(known)
    close = get_close_matches(name, names, n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(names)}"
