"""How a run ends before its input is done: on SIGTERM, at its deadline, with its budget spent.

Replicas begin no more, what is in flight may finish, and everything that was answered is stored.
What is left is the next run's work.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from pipeline.store.run_file import StopReason

STORING_SHARE, STORING_SECONDS = 0.3, 5.0
"""The share of the grace after SIGTERM that is kept for storing the last parts, and the most of it;
a run that ends for another reason has all of these seconds."""

AGAIN_SECONDS = 2.0
"""An interruption that reaches a finalizer is lost; it is repeated until the run has ended."""

_AT_ONCE = 0.001


class ShutdownTimeout(KeyboardInterrupt):
    """A run that was to end has not done so in its time."""


class Shutdown:
    """Ends one run in order, for one reason, which is None while the run goes on.

    `request` may be called from any thread. If the run has not ended by itself in its time,
    `ShutdownTimeout` is raised in the main thread, and again every `AGAIN_SECONDS`.
    """

    def __init__(self, grace_seconds: float) -> None:
        self.reason: StopReason | None = None
        self._grace_seconds = grace_seconds
        self._ends_at = float("inf")  # by the monotonic clock
        self._storing = STORING_SECONDS
        self._end: Callable[[float], object] | None = None
        self._has_timer = False
        self._lock = threading.RLock()  # a signal may arrive in the thread that holds it

    @property
    def is_requested(self) -> bool:
        return self.reason is not None

    def request(
        self, reason: StopReason, in_flight: float, storing: float = STORING_SECONDS
    ) -> None:
        """Has the run end: what is in flight has so many seconds, then the last parts have theirs.

        A second request changes nothing, unless it is a signal: that is the reason then, and the
        run has no more time than either gives it.
        """
        with self._lock:
            if self.reason is not None and (reason != "signal" or self.reason == "signal"):
                return
            self.reason = reason
            self._ends_at = min(self._ends_at, time.monotonic() + in_flight + storing)
            self._storing = storing
            self._tell()

    @contextmanager
    def listening(self, end: Callable[[float], object]) -> Iterator[None]:
        """While the block lasts, SIGTERM is a request, with the grace of the job.

        A request calls `end`, in a thread, with the seconds that engines still have. A second
        SIGTERM, or one without grace, raises `KeyboardInterrupt`. Outside the main thread, which
        alone receives signals, there are neither they nor the timer.
        """
        self._end = end
        if threading.current_thread() is not threading.main_thread():
            self._tell()
            yield
            return
        before = [(number, signal.getsignal(number)) for number in (signal.SIGTERM, signal.SIGALRM)]
        signal.signal(signal.SIGALRM, _time_out)
        signal.signal(signal.SIGTERM, self._on_sigterm)
        self._has_timer = True
        self._tell()
        try:
            yield
        finally:
            with self._lock:
                self._has_timer = False
                if self.is_requested:
                    signal.setitimer(signal.ITIMER_REAL, 0)
            for number, handler in before:
                signal.signal(number, handler)

    def _tell(self) -> None:
        """Has the run end in its time, if that was requested, as soon as there is one to tell."""
        with self._lock:
            if self.reason is None or self._end is None:
                return
            left = max(self._ends_at - time.monotonic(), _AT_ONCE)
            if self._has_timer:
                signal.setitimer(signal.ITIMER_REAL, left, AGAIN_SECONDS)
            seconds = (max(left - self._storing, 0.0),)
            threading.Thread(target=self._end, args=seconds, daemon=True).start()

    def _on_sigterm(self, number: int, frame: FrameType | None) -> None:
        if self.reason == "signal" or self._grace_seconds == 0:
            raise KeyboardInterrupt
        storing = min(self._grace_seconds * STORING_SHARE, STORING_SECONDS)
        self.request("signal", self._grace_seconds - storing, storing)


def _time_out(number: int, frame: FrameType | None) -> None:
    raise ShutdownTimeout
