"""How coroutines end on SIGTERM."""

import asyncio
import signal
from collections.abc import Coroutine
from contextlib import suppress
from types import FrameType
from typing import Any, TypeVar, cast

T = TypeVar("T")


async def interruptible(work: Coroutine[Any, Any, T]) -> T:
    """What `work` returns; SIGTERM cancels it, as SIGINT does where asyncio runs a coroutine.

    Every task ends before `KeyboardInterrupt` is raised. A handler that raises at once does so
    wherever the loop happens to be, and leaves tasks behind; a second SIGTERM does that all the
    same. Outside the main thread, which alone receives signals, nothing is handled.
    """
    loop, signals = asyncio.get_running_loop(), []
    task = cast("asyncio.Task[Any]", asyncio.current_task())

    def cancel(number: int, frame: FrameType | None) -> None:
        signals.append(number)
        if len(signals) > 1:
            raise KeyboardInterrupt
        loop.call_soon_threadsafe(task.cancel)

    before = None
    with suppress(ValueError):  # not in the main thread
        before = signal.signal(signal.SIGTERM, cancel)
    try:
        return await work
    except asyncio.CancelledError:
        if signals and task.uncancel() == 0:
            raise KeyboardInterrupt from None
        raise
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)
