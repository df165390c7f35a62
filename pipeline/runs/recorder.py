"""The record of an execution: its `run.json` from its start to its end, and how it ended."""

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Self, TypeAlias

from pipeline.core.accounting import Totals
from pipeline.core.errors import OvernightError, StorageError, message_of
from pipeline.runs.budgets import overruns
from pipeline.runs.cost import RunCost
from pipeline.runs.progress import RunProgress
from pipeline.runs.shutdown import Shutdown, ShutdownTimeout
from pipeline.store.run_file import Remaining, RunFile, RunStatus, StopReason

Document: TypeAlias = dict[str, Any]
"""What a `run.json` holds."""

EXIT_CODES: dict[RunStatus, int] = {
    "done": 0,
    "stopped": 0,
    "over_budget": 1,
    "failed": 3,
    "interrupted": 130,
}

STATUS_OF: dict[StopReason, RunStatus] = {
    "signal": "interrupted",
    "deadline": "stopped",
    "budget": "stopped",
}
"""How a run is recorded that ended before its input was done."""


@dataclass(slots=True)
class Timings:
    """Seconds since the run began."""

    began: float = field(default_factory=time.monotonic)
    cluster_ready: float | None = None
    engines_ready: float | None = None  # the first replica can answer, as far as the monitor saw
    first_rows: float | None = None

    def now(self) -> float:
        return round(time.monotonic() - self.began, 3)

    def look(self, progress: RunProgress) -> None:
        """Notes when the first replica can answer, as a watcher of the run."""
        if self.engines_ready is None and progress.counts.can_answer:
            self.engines_ready = self.now()

    def as_dict(self) -> dict[str, float | None]:
        return {
            "cluster_ready": self.cluster_ready,
            "engines_ready": self.engines_ready,
            "first_rows": self.first_rows,
            "total": self.now(),
        }


class RunRecorder:
    """Writes the record of a run when its block begins, with every heartbeat, and at its end.

    Errors are recorded and raised; an interruption is recorded, and is no error. However the block
    ends, `on_end` gets what was recorded, and `document` holds it.
    """

    def __init__(
        self,
        file: RunFile,
        totals: Totals | None = None,
        on_end: Callable[[Document], object] = lambda _: None,
        limit: int | None = None,
    ) -> None:
        self.file = file
        self.totals = totals
        self.limit = limit
        self.ids: Mapping[str, Any] = {}
        self.timings = Timings()
        self.replicas: list[Mapping[str, Any]] = []
        self.shutdown = Shutdown(file.job.grace_seconds)
        self.remaining: Callable[[], Remaining] = Remaining
        self.cost = RunCost(file.job, file.resumed)
        self._writing = Lock()  # what was allowed is not overwritten with what was before
        self.document: Document = {}
        self._on_end = on_end
        self._heartbeats = ExitStack()

    def __enter__(self) -> Self:
        try:
            self.write()
        except StorageError as error:
            self.__exit__(type(error), error, None)
            raise
        self._heartbeats.enter_context(self.file.heartbeats(self.write))
        return self

    def write(self) -> None:
        """Writes how far the run has got."""
        self._write("running")

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        self._heartbeats.close()
        if self.totals and self._stopped_by(error):
            self.totals.leave_rest_unread()
        failure = error or self._accounting_error()
        status, stopped_by = self._status(failure), self._stopped_by(failure)
        if status != "failed":
            says_budgets = status in ("over_budget", "stopped")
            error_text = "\n".join(self._overruns()) if says_budgets else ""
            self._end(status, error_text or None, stopped_by)
            return True
        with suppress(StorageError):  # a store that fails may be what ended the run
            self._end(status, message_of(failure) if failure else None, stopped_by)
        if failure and not error:
            raise failure
        return False

    def _status(self, failure: BaseException | None) -> RunStatus:
        """The one place that decides how a run has ended."""
        if isinstance(failure, Exception):
            return "failed"
        if stopped_by := self._stopped_by(failure):
            return STATUS_OF[stopped_by]
        return "over_budget" if self._overruns() else "done"

    def _stopped_by(self, failure: BaseException | None) -> StopReason | None:
        """Why the run has ended before its input was done, if it has."""
        if failure is None or isinstance(failure, (Exception, ShutdownTimeout)):
            return self.shutdown.reason
        return "signal"  # a second one, or Ctrl-C

    def _accounting_error(self) -> Exception | None:
        try:
            if self.totals:
                self.totals.check()
        except OvernightError as error:
            return error
        return None

    def _overruns(self) -> list[str]:
        """The budgets of the job that this run has exceeded."""
        job, totals = self.file.job, self.totals
        return list(overruns(job, totals, self.limit, self.file.resumed)) if totals else []

    def _end(self, status: RunStatus, error: str | None, stopped_by: StopReason | None) -> None:
        try:
            self._write(status, error, stopped_by)
        finally:
            self._on_end(self.document)

    def _write(
        self,
        status: RunStatus,
        error: str | None = None,
        stopped_by: StopReason | None = None,
    ) -> None:
        remaining = self.remaining()
        with self._writing:
            document = self.file.content(
                status,
                self.totals,
                self.timings.as_dict(),
                error,
                self.replicas,
                self.ids,
                stopped_by,
                remaining,
                self.cost.section(is_running=status == "running"),
            )
            if status != "running":
                self.document = document
            self.file.write(document)
