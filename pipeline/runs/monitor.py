"""Watches a run, and shows its progress whether or not anything has been stored yet."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import TypeAlias

from pipeline.cluster.counters import RunCounts
from pipeline.core.accounting import Totals
from pipeline.core.processes import periodic_calls
from pipeline.runs.progress import InputBounds, Rates, RateWindow, RunProgress

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
    ) -> None:
        self._bounds = bounds
        self._totals = totals
        self._ask = counts
        self._watchers = watchers
        self._window = RateWindow()
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
            self._counts = counts
            self._rates = self._window.rates(counts, time.monotonic())
            if counts.rate_limited:
                self._totals.sums["rate_limited"] = counts.rate_limited
            self._show()

    def _show(self) -> None:
        progress = RunProgress(self._totals, self._counts, self._rates, self._bounds)
        for watcher in self._watchers:
            watcher(progress)
