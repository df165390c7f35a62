"""What is done beside the main thread."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread


@contextmanager
def now_and_then(call: Callable[[], object], seconds: float) -> Iterator[None]:
    """Calls every so many seconds in a thread, as long as the block lasts; never after it."""
    over = Event()

    def calls() -> None:
        while not over.wait(seconds):
            call()

    thread = Thread(target=calls, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
