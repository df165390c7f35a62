"""The job without a model: stages on one core, whole runs, and a store that is there already."""

import os
import shutil
import statistics
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pipeline.store.shard_keys import KEYS_FOLDER
from tests.bench.ledger import LedgerCost, ledger_cost
from tests.bench.records import generate
from tests.bench.stages import STAGES, stage_seconds
from tests.bench.whole import COMPARING, PLAIN, Whole, seconds_again, whole_run

STAGE_RECORDS, STAGE_ROUNDS = 20_000, 5
SIZES = (10_000, 100_000, 1_000_000)
SHARD_RECORDS = 5_000
WHOLE: Mapping[str, Any] = {}


def section(scratch: Path) -> list[str]:
    """Its part of docs/benchmarks.md."""
    scratch.mkdir(parents=True)
    shards = generate(scratch / "stages", STAGE_RECORDS, 4)
    stages, compared = (_stages(shards, options) for options in (PLAIN, WHOLE))
    runs = [_whole(scratch, size) for size in SIZES]
    largest = scratch / f"run-{SIZES[-1]}"
    again = {command: seconds_again(command, largest) for command in ("plan", "run")}
    shutil.rmtree(largest / "store" / KEYS_FOLDER)
    without_keys = seconds_again("plan", largest)
    ledger = ledger_cost(scratch / "ledger")
    total, cores = sum(stages.values()), os.cpu_count() or 1
    return [
        "## The job without a model",
        "",
        "Records are generated: four passages of 110 words, a question, a recorded answer of "
        "100 words, 3.9 kB as JSON; template `instructions-first`; engine `recorded`, which takes "
        "no time of its own.",
        "",
        "### One core, stage by stage",
        "",
        f"Processor time of the stage functions alone; median of {STAGE_ROUNDS} rounds over "
        f"{STAGE_RECORDS:,} records.",
        "",
        f"Without the checks {', '.join(COMPARING)}, which compare an answer with its prompt, and "
        "without the estimate whether it answers; then with all of these.",
        "",
        "| stage | µs per record | share | µs with all |",
        "|---|---:|---:|---:|",
        *(
            f"| {name} | {cost:.0f} | {cost / total:.0%} | {compared[name]:.0f} |"
            for name, cost in stages.items()
        ),
        f"| all | {total:.0f} | {1e6 / total:,.0f} records per second and core "
        f"| {sum(compared.values()):.0f} |",
        "",
        "### Whole runs on Ray",
        "",
        f"`overnight run` with a Ray of its own, {cores} cores, as many replicas, without these. "
        "Seconds are "
        "counted from when Ray is up, first rows from the start of the job. Processor time and the "
        "peak of the proportional set size are those of driver, Ray and all workers together.",
        "",
        "| records | seconds | records per second and core | processor µs per record "
        "| first rows, s | peak memory, MiB | driver, MiB |",
        "|---:|---:|---:|---:|---:|---:|---:|",
        *(_row(run, cores) for run in runs),
        "",
        _bound(total, runs[-1], cores),
        "",
        *_scale(runs[-1], again, without_keys, ledger),
    ]


def _stages(shards: Path, options: Mapping[str, Any]) -> dict[str, float]:
    """Microseconds a record, the median of several rounds after one to warm up."""
    rounds = []
    for _ in range(STAGE_ROUNDS + 1):
        with TemporaryDirectory(dir=shards.parent) as store:
            rounds.append(stage_seconds(shards, Path(store), options))
    return {s: statistics.median(r[s] for r in rounds[1:]) / STAGE_RECORDS * 1e6 for s in STAGES}


def _whole(scratch: Path, records: int) -> Whole:
    shards = generate(scratch / f"records-{records}", records, max(records // SHARD_RECORDS, 4))
    return whole_run(shards, scratch / f"run-{records}", PLAIN)


def _scale(
    run: Whole, again: dict[str, float], without_keys: float, ledger: LedgerCost
) -> list[str]:
    return [
        "### A store that exists already",
        "",
        f"`plan` over the store of the largest run, {run.records:,} rows, all of them current: "
        f"{again['plan']:.0f} s, cluster included; `run`, which finds nothing to do: "
        f"{again['run']:.0f} s, {again['run'] / again['plan']:.2f} of it. "
        "No shard has changed, so both go by the keys that the run has kept. Without these, `plan` "
        f"parses and renders every record: {without_keys:.0f} s.",
        "",
        f"The ledger of {ledger.keys:,} stored rows, compacted: read in {ledger.seconds:.0f} s by "
        f"one process, whose memory grows by {ledger.peak_bytes / 2**20:,.0f} MiB at its peak; "
        f"it keeps {ledger.kept_bytes / ledger.keys:.0f} bytes per row.",
        "",
    ]


def _bound(stage_cost: float, run: Whole, cores: int) -> str:
    """What a whole run spends its cores on, by the two tables together."""
    share = stage_cost * run.records / (run.seconds * cores * 1e6)
    return (
        f"In the largest run the stage functions take {share:.0%} of the cores' time. The rest "
        "goes to Ray, which starts workers, moves batches of prompts through shared memory and "
        "schedules in the driver, and to the page about the run, which one core makes at its end."
    )


def _row(run: Whole, cores: int) -> str:
    rate = run.records / run.seconds / cores
    return (
        f"| {run.records:,} | {run.seconds:.1f} | {rate:,.0f} "
        f"| {run.cpu_seconds / run.records * 1e6:,.0f} | {run.first_rows:.1f} "
        f"| {run.peak_bytes / 2**20:,.0f} | {run.driver_peak_bytes / 2**20:,.0f} |"
    )
