"""Records when vLLM's engine made its first token and its last, whatever starts it.

Every Python process of a contender imports it; it acts in the one that runs the engine. Times are
of the system's monotonic clock, which all processes share.
"""

import os
import struct
import time
from typing import Any

CLOCK = "OVERNIGHT_BENCH_CLOCK"

if CLOCK in os.environ:
    import wrapt

    @wrapt.when_imported("vllm.v1.engine.core")
    def _time_steps(core: Any) -> None:
        step = core.EngineCoreProc._process_engine_step
        times: list[float] = []

        def timed(self: Any) -> bool:
            executed: bool = step(self)
            if executed:
                now = time.monotonic()
                if not times:
                    times.append(os.open(os.environ[CLOCK], os.O_WRONLY | os.O_CREAT))
                    times.append(now)
                os.pwrite(int(times[0]), struct.pack("dd", times[1], now), 0)
            return executed

        core.EngineCoreProc._process_engine_step = timed
