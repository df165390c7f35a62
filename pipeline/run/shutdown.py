"""What a SIGTERM does to a run: it ends in peace, within the time that the scheduler leaves it."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

STORING_SHARE, STORING_SECONDS = 0.3, 5.0
"""Of the grace, what is kept for the last parts on their way to the store; no more than so long."""

LOOK_SECONDS = 0.25
"""How often one looks whether all is done that was in flight."""


@contextmanager
def grace(
    seconds: float, begin: Callable[[float], object], is_done: Callable[[], bool]
) -> Iterator[threading.Event]:
    """Has `begin` called at the first SIGTERM, with the seconds that engines still have.

    Yields what is set then. When all is done that was in flight, at the end of the grace, or at a
    second SIGTERM, `KeyboardInterrupt` is raised in the main thread. Elsewhere than in the main
    thread nothing is done: signals are not for it.
    """
    told, over = threading.Event(), threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield told
        return
    main = threading.main_thread().ident or 0

    def at_signal(number: int, frame: FrameType | None) -> None:
        if told.is_set() or seconds == 0:
            raise KeyboardInterrupt
        told.set()

    def wait() -> None:
        told.wait()
        if over.is_set():
            return
        began = time.monotonic()
        begin(seconds - min(seconds * STORING_SHARE, STORING_SECONDS))
        while not over.wait(LOOK_SECONDS):
            if time.monotonic() - began > seconds or is_done():
                signal.pthread_kill(main, signal.SIGTERM)
                return

    before = signal.signal(signal.SIGTERM, at_signal)
    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    try:
        yield told
    finally:
        signal.signal(signal.SIGTERM, before)
        was_told = told.is_set()
        over.set()
        told.set()
        waiting.join()
        if not was_told:
            told.clear()
