"""How long a call takes, whatever else this process and this machine do meanwhile."""

import gc
import time
from collections.abc import Callable


def least_seconds(call: Callable[[], object], tries: int = 5) -> float:
    """Processor seconds of this thread alone, in the fastest of several tries."""
    gc.disable()
    try:
        return min(_seconds(call) for _ in range(tries))
    finally:
        gc.enable()


def _seconds(call: Callable[[], object]) -> float:
    began = time.thread_time()
    call()
    return time.thread_time() - began
