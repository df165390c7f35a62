"""Time and memory that a run over a large store takes before it starts, to read the ledger."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.store.schema import ANSWERS
from tests.support.jobs import ROOT

KEYS, PART_ROWS = 10_000_000, 250_000

READ = """
import json, resource, sys, time
from pipeline.core.filesystem import Storage
from pipeline.store.ledger import Ledger
store = Storage().at(sys.argv[1])
rss_before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
started = time.perf_counter()
ledger = Ledger.of(store)
seconds = time.perf_counter() - started
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - rss_before
kept_bytes = ledger.answered.nbytes + ledger.failed.nbytes
print(json.dumps([len(ledger.answered) + len(ledger.failed), seconds, peak * 1024, kept_bytes]))
"""


@dataclass(frozen=True)
class LedgerCost:
    """Seconds to read a ledger, its peak memory above an empty process, and its final size."""

    keys: int
    seconds: float
    peak_bytes: int
    kept_bytes: int


def ledger_cost(folder: Path, keys: int = KEYS) -> LedgerCost:
    """Writes a compacted store with this many rows, and reads its ledger in a new process."""
    write_store(folder, keys)
    done = subprocess.run(
        [sys.executable, "-c", READ, str(folder)], cwd=ROOT, capture_output=True, check=True
    )
    return LedgerCost(*json.loads(done.stdout))


def write_store(folder: Path, keys: int) -> None:
    """Writes answers with key columns only, for a multiple of `PART_ROWS` records, 28 per paper."""
    (folder / "answers").mkdir(parents=True)
    for start in range(0, keys, PART_ROWS):
        _write_part(folder / "answers" / f"part-{start:09}.parquet", start)


def _write_part(path: Path, start: int) -> None:
    keys = np.random.default_rng(start).bytes(16 * PART_ROWS)
    columns = {
        "generation_key": [keys[at : at + 16].hex() for at in range(0, len(keys), 16)],
        "record_id": [f"paper-{n // 28}_Q{n % 28}" for n in range(start, start + PART_ROWS)],
        "paper_id": [f"paper-{n // 28}" for n in range(start, start + PART_ROWS)],
        "status": ["failed" if n % 50 == 0 else "answered" for n in range(PART_ROWS)],
        "failed_checks": [["complete"] if n % 50 == 0 else [] for n in range(PART_ROWS)],
        "written_at": pa.repeat(pa.scalar(start, pa.int64()), PART_ROWS),
    }
    table = pa.table(
        [
            pa.array(columns[field.name]).cast(field.type)
            if field.name in columns
            else pa.nulls(PART_ROWS, field.type)
            for field in ANSWERS
        ],
        schema=ANSWERS,
    )
    pq.write_table(table, path, compression="zstd")
