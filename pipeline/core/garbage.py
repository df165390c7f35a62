"""How often Python looks for reference cycles."""

import gc

THRESHOLDS = (50_000, 20, 20)


def collect_garbage_rarely() -> None:
    """Raises the thresholds of the garbage collector for this process.

    Records and answers form no reference cycles: there is hardly anything to collect, and looking
    for it would take a tenth of the time, more in a process that holds many objects.
    """
    gc.set_threshold(*THRESHOLDS)
