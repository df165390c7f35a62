"""Watches a run, and shows its progress whether or not anything has been stored yet."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from threading import Lock
from typing import TypeAlias

from pipeline.cluster.counters import RunCounts
from pipeline.core.accounting import Totals
from pipeline.core.processes import periodic_calls
from pipeline.runs.progress import InputBounds, Rates, RateWindow, RunProgress
from pipeline.runs.time_left import SpreadWindow
from pipeline.store.run_file import Remaining

Watcher: TypeAlias = Callable[[RunProgress], object]
"""Called from several threads, one at a time."""

LOOK_SECONDS = 1.0


class Monitor:
    """Adds receipts to the totals of a run; between them asks how far its stages have got."""

    def __init__(
        self,
        bounds: InputBounds,
        totals: Totals,
        counts: Callable[[RunCounts], RunCounts],
        watchers: Sequence[Watcher],
        deadline: datetime | None = None,
    ) -> None:
        self._bounds = bounds
        self._totals = totals
        self._ask = counts
        self._watchers = watchers
        self._deadline = deadline
        self._window, self._spread = RateWindow(), SpreadWindow()
        self._answering: tuple[float, float] | None = None  # since when engines can, until when
        self._counts, self._rates = RunCounts(), Rates()
        self._lock = Lock()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Looks every `LOOK_SECONDS` while the block lasts, and once when it ends."""
        try:
            with periodic_calls(self._look, LOOK_SECONDS):
                yield
        finally:
            self._look()

    def add(self, receipt: Totals) -> None:
        with self._lock:
            self._totals.add(receipt)
            self._show()

    def is_all_stored(self) -> bool:
        """Whether no replica begins or answers anything more, and all answers are in the store.

        Asks nobody while answers that were there at the last look are not stored yet: a thousand
        replicas hand back ten thousand batches when a run ends.
        """
        with self._lock:
            states, seen = self._totals.states, self._counts.engines.done
        stored = states["answered"] + states["failed"]
        if stored < seen:
            return False
        counts = self._ask(self._counts)
        idle = not (counts.may_begin or counts.in_engines)
        return idle and stored >= counts.engines.done

    def _look(self) -> None:
        counts = self._ask(self._counts)
        with self._lock:
            self._counts, now = counts, time.monotonic()
            self._rates = self._window.rates(counts, now)
            if counts.rate_limited:
                self._totals.sums["rate_limited"] = counts.rate_limited
            if counts.can_answer:
                self._spread.add(counts.engines.done, now)
                since, _ = self._answering or (now, now)
                self._answering = since, now
            self._show()

    def remaining(self) -> Remaining:
        """What has no stored answer yet, and how long that takes at the rate of the whole run."""
        with self._lock:
            progress = self._progress()
            since, until = self._answering or (0.0, 0.0)
        if not progress.counts.stages.read:
            return Remaining()
        left = max(round(progress.expected_work) - progress.stages["stored"], 0)
        done = progress.counts.engines.done
        if not left or not done:
            return Remaining(left, 0.0 if not left else None)
        return Remaining(left, round(left * (until - since) / done, 1))

    def _show(self) -> None:
        progress = self._progress()
        for watcher in self._watchers:
            watcher(progress)

    def _progress(self) -> RunProgress:
        spread = self._spread.spread
        return RunProgress(
            self._totals, self._counts, self._rates, self._bounds, spread, self._deadline
        )
