"""Makes a model slow to load and an input slow to read, for tests/bench/start.py.

Every Python process of a run imports it. It acts if `OVERNIGHT_BENCH_SLOW` is set, to the seconds
that each of the two takes; the input's are spread over `OVERNIGHT_BENCH_RECORDS` records.
"""

import os
import time
from collections.abc import Iterator
from typing import Any

SLOW, RECORDS = "OVERNIGHT_BENCH_SLOW", "OVERNIGHT_BENCH_RECORDS"

if SLOW in os.environ:
    import wrapt

    seconds = float(os.environ[SLOW])
    pause = seconds / int(os.environ[RECORDS])

    @wrapt.when_imported("pipeline.engines")
    def _slow_model(engines: Any) -> None:
        open_engine = engines.open_engine

        def opened(*arguments: Any) -> Any:
            time.sleep(seconds)
            return open_engine(*arguments)

        engines.open_engine = opened

    @wrapt.when_imported("pipeline.reading.source")
    def _slow_input(source: Any) -> None:
        read_shard = source.read_shard

        def read(*arguments: Any) -> Iterator[Any]:
            for item in read_shard(*arguments):
                time.sleep(pause)
                yield item

        source.read_shard = read
