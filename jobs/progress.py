"""Progress of a job: a bar on a terminal, a plain line at intervals anywhere else."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from pipeline.totals import Totals

LINE_SECONDS = 30.0


class JobProgress:
    """Shows totals as they come in; the share done is that of the input's stored bytes."""

    def __init__(self, console: Console, doing: str, input_bytes: int) -> None:
        self._console = console
        self._doing = doing
        self._input_bytes = input_bytes
        self._began = self._last_line = time.monotonic()
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[counts]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._task = self._bar.add_task(doing, total=max(input_bytes, 1), counts="starting")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def __call__(self, totals: Totals) -> None:
        counts = self._counts(totals)
        self._bar.update(self._task, completed=totals.sums["stored_bytes"], counts=counts)
        now = time.monotonic()
        if not self._console.is_terminal and now - self._last_line >= LINE_SECONDS:
            self._last_line = now
            share = totals.sums["stored_bytes"] / max(self._input_bytes, 1)
            left = (now - self._began) * (1 - share) / share if share else float("inf")
            self._console.print(f"{self._doing}: {share:.0%}, {counts}, {left:.0f} s left")

    def _counts(self, totals: Totals) -> str:
        states = totals.states
        rate = totals.done / max(time.monotonic() - self._began, 1e-9)
        return (
            f"{totals.done:,} records, {rate:,.0f}/s, "
            f"{states['failed']:,} failed, {states['rejected']:,} rejected"
        )
