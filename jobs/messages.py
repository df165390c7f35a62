"""How messages reach a person or a machine: as text on standard error, or as lines of JSON."""

import os
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TextIO

import orjson
from rich.console import Console


class LogFormat(StrEnum):
    text = "text"
    json = "json"


class LogLines:
    """A file for messages that writes each line as a JSON object, with the time."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._begun = ""

    def write(self, text: str) -> int:
        *lines, self._begun = (self._begun + text).split("\n")
        for line in filter(str.strip, lines):
            self.event(message=line.rstrip())
        return len(text)

    def event(self, **fields: Any) -> None:
        """Writes one object."""
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._file.write(orjson.dumps({"time": time, **fields}).decode() + "\n")
        self._file.flush()

    def flush(self) -> None:
        self._file.flush()


def console_for(log: LogFormat, quiet: bool = False) -> Console:
    """A console on standard error, under another descriptor, which stays when Ray's is redirected;
    a quiet one prints nothing.
    """
    file: Any = os.fdopen(os.dup(2), "w", encoding="utf-8", errors="replace")
    if log is LogFormat.json:
        file = LogLines(file)
    return Console(file=file, quiet=quiet, highlight=False, soft_wrap=True)
