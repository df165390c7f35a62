"""Ends a run so that it has ended by its deadline, with everything stored that was answered.

The end begins so long before the deadline as an answer takes, going by the rate of the last minute
and by how many are generated at a time: `grace_seconds` at most, and all of them while nothing was
answered; and `STORING_SECONDS` more. Replicas begin no batch from then on. They go on with those
they have until these last seconds, which are for storing what was answered and giving back the
cluster. A run that has not ended by the deadline is interrupted there; it is `stopped` all the
same, and what was not stored is left to the next run.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from pipeline.core.processes import periodic_calls
from pipeline.runs.progress import RunProgress
from pipeline.runs.shutdown import STORING_SECONDS, Shutdown

LOOK_SECONDS = 0.2


class DeadlineWatch:
    """Watches the progress of a run, and requests its end in time; without a deadline, never.

    By the wall clock: a machine that has slept wakes up after its deadline. Each of the replicas
    works on so many `sequences` at a time, at most.
    """

    def __init__(
        self,
        deadline: datetime | None,
        grace_seconds: float,
        sequences: int,
        shutdown: Shutdown,
    ) -> None:
        self._deadline = deadline
        self._grace_seconds = grace_seconds
        self._sequences = sequences
        self._shutdown = shutdown
        self._in_flight = 0.0  # seconds that an answer takes

    def __call__(self, progress: RunProgress) -> None:
        counts, rate = progress.counts, progress.rates.done
        at_a_time = min(counts.in_engines, self._sequences * sum(counts.replicas.values()))
        takes = at_a_time / rate if rate else float("inf")
        self._in_flight = min(takes, self._grace_seconds) if counts.in_engines else 0.0

    def is_over(self) -> bool:
        """Whether there is no time for anything any more; requests the end then."""
        self._look()
        return self._shutdown.is_requested

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Looks every `LOOK_SECONDS` while the block lasts."""
        with periodic_calls(self._look, LOOK_SECONDS):
            yield

    def _look(self) -> None:
        if self._deadline is None:
            return
        seconds = (self._deadline - datetime.now(UTC)).total_seconds() - STORING_SECONDS
        if seconds <= self._in_flight:
            self._shutdown.request("deadline", max(seconds, 0.0), STORING_SECONDS)
