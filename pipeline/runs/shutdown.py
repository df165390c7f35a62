"""SIGTERM: a run ends by itself, within the time that its scheduler leaves it."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

STORING_SHARE, STORING_SECONDS = 0.3, 5.0
"""The share of the grace that is kept for storing the last parts, and the most of it."""


AGAIN_SECONDS = 2.0
"""An interruption that reaches a finalizer is lost; it is repeated until the run has ended."""


@contextmanager
def shutdown_on_sigterm(
    seconds: float, end: Callable[[float], object]
) -> Iterator[threading.Event]:
    """On the first SIGTERM calls `end`, in a thread, with the seconds that engines still have.

    Yields the event that is set then. The run is expected to end by itself once what was in flight
    is done; if it has not after `seconds`, or at a second SIGTERM, `KeyboardInterrupt` is raised,
    and again every `AGAIN_SECONDS`.
    Does nothing outside the main thread, which alone receives signals.
    """
    requested = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield requested
        return

    def at_signal(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGALRM or requested.is_set() or seconds == 0:
            raise KeyboardInterrupt
        signal.signal(signal.SIGALRM, at_signal)
        signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN_SECONDS)
        requested.set()
        left = seconds - min(seconds * STORING_SHARE, STORING_SECONDS)
        threading.Thread(target=end, args=(left,), daemon=True).start()

    before = [(number, signal.getsignal(number)) for number in (signal.SIGTERM, signal.SIGALRM)]
    signal.signal(signal.SIGTERM, at_signal)
    try:
        yield requested
    finally:
        if requested.is_set():
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before:
            signal.signal(number, handler)
