"""Ends a run so that it has ended by its deadline, with everything stored that was answered.

The end begins so long before the deadline as an answer takes, going by the rate of the last minute
and by how many are generated at a time, once so many were answered: `grace_seconds` at most;
`STORING_SECONDS` more to store the last answers; and `CLOSING_SHARE` of what it took to
join the cluster to leave it again. Replicas begin no batch from then on; they go on with those they
have until it is time to store. A run that has not stored all by when it must leave the cluster is
interrupted there; it is `stopped` all the same, and what was not stored is left to the next run.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from pipeline.core.processes import periodic_calls
from pipeline.runs.progress import RunProgress
from pipeline.runs.shutdown import STORING_SECONDS, Shutdown

LOOK_SECONDS = 0.2

CLOSING_SHARE, CLOSING_SECONDS = 0.2, 15.0
"""The share of the time that joining the cluster took, and the most of it: a busy machine is slow
at both."""


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
        self._in_flight = self._closing = 0.0  # seconds: of an answer, and to leave the cluster

    def __call__(self, progress: RunProgress) -> None:
        counts, rate = progress.counts, progress.rates.done
        at_a_time = min(counts.in_engines, self._sequences * sum(counts.replicas.values()))
        takes = at_a_time / rate if rate else float("inf")
        is_known = 0 < at_a_time <= counts.engines.done
        self._in_flight = min(takes, self._grace_seconds) if is_known else 0.0

    def is_over(self) -> bool:
        """Whether there is no time for anything any more; requests the end then."""
        self._look()
        return self._shutdown.is_requested

    @contextmanager
    def watching(self, joined: float) -> Iterator[None]:
        """Looks every `LOOK_SECONDS` while the block lasts; it took `joined` seconds to join the
        cluster.
        """
        self._closing = min(joined * CLOSING_SHARE, CLOSING_SECONDS)
        with periodic_calls(self._look, LOOK_SECONDS):
            yield

    def _look(self) -> None:
        if self._deadline is None:
            return
        left = (self._deadline - datetime.now(UTC)).total_seconds()
        seconds = left - STORING_SECONDS - self._closing
        if seconds <= self._in_flight:
            self._shutdown.request("deadline", max(seconds, 0.0), STORING_SECONDS)
