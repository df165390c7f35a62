"""How often Python looks for objects that only refer to each other."""

import gc

THRESHOLDS = (50_000, 20, 20)


def collect_garbage_rarely() -> None:
    """Records and answers form no circles: hardly anything waits for the collector, which would
    otherwise take a tenth of the time, and more in a process that holds much.
    """
    gc.set_threshold(*THRESHOLDS)
