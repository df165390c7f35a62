"""Keeps watch over a run, and shows how it gets on whether or not anything reaches the sink."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import TypeAlias

from pipeline.cluster.counters import Extent, Rates, RateWindow, RunCounts, RunProgress
from pipeline.cluster.reporter import Replicas
from pipeline.core.accounting import Totals
from pipeline.core.processes import now_and_then
from pipeline.run.metrics import Metrics

Progress: TypeAlias = Callable[[RunProgress], None]
"""Called from several threads, by one at a time."""

LOOK_SECONDS = 1.0


class Watch:
    """Adds receipts to the totals of a run, and between them looks how far its stages have got."""

    def __init__(
        self,
        job_name: str,
        extent: Extent,
        totals: Totals,
        replicas: Replicas,
        progress: Progress,
    ) -> None:
        self._extent = extent
        self._totals = totals
        self._replicas = replicas
        self._progress = progress
        self._metrics = Metrics(job_name)
        self._pace = RateWindow()
        self._headway, self._rates = RunCounts(), Rates()
        self._lock = Lock()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Looks every `LOOK_SECONDS` as long as the block lasts, and once when it ends."""
        try:
            with now_and_then(self._look, LOOK_SECONDS):
                yield
        finally:
            self._look()

    def add(self, receipt: Totals) -> None:
        with self._lock:
            self._totals.add(receipt)
            self._progress(self._view())

    def is_all_stored(self) -> bool:
        """Whether replicas that are to end have all heard of it and have nothing in hand, and all
        that they have answered is in the store.
        """
        headway = self._replicas.headway(self._headway)
        with self._lock:
            states = self._totals.states
            stored = states["answered"] + states["failed"]
        is_idle = not headway.free and not headway.in_engines
        return is_idle and stored >= headway.effort.done

    def _look(self) -> None:
        headway = self._replicas.headway(self._headway)
        with self._lock:
            self._headway = headway
            self._rates = self._pace.rates(headway, time.monotonic())
            view = self._view()
            self._metrics.record(view)
            self._progress(view)

    def _view(self) -> RunProgress:
        return RunProgress(self._totals, self._headway, self._rates, self._extent)
