"""A thousand replicas in one run: what its coordinator and its driver take, of which one each."""

import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import ray

from tests.bench.messages import BATCH_SECONDS, CLIENTS, DUE, Load, Standing, load, standing
from tests.bench.pool import BATCHES_IN_FLIGHT, Pool, pool
from tests.support.crowd import ROWS as WHOLE_ROWS

POOLS = ((8, 2.2), (16, 2.2), (32, 2.2), (32, 22.0))
"""Replicas that are processes, and seconds for a batch: a tenth of a GPU's, and a GPU's."""

T = TypeVar("T", Load, Pool)

CROWDS = (1000, 2000, 4000)
MANY = 1000


def section(scratch: Path) -> list[str]:
    """Its part of docs/benchmarks.md."""
    scratch.mkdir(parents=True)
    ray.init(address="local", num_cpus=CLIENTS, include_dashboard=False, log_to_driver=False)
    loads = [_told(load(size)) for size in CROWDS]
    ray.shutdown()
    pools = [_told(pool(scratch / f"{size}-{each}", size, each)) for size, each in POOLS]
    return [
        "## A thousand replicas",
        "",
        *_coordinator(loads, standing(MANY)),
        *_run(pools),
    ]


def _told(figures: T) -> T:
    """Says how far the bench has got."""
    row = _pool_row(figures) if isinstance(figures, Pool) else _load_row(figures)
    print(row, file=sys.stderr, flush=True)
    return figures


def _coordinator(loads: Sequence[Load], held: Standing) -> list[str]:
    return [
        "### The coordinator alone",
        "",
        f"Messages of that many replicas, from {CLIENTS} processes with the code that replicas "
        f"use: a heartbeat a second with all counts, and four messages for each batch, of "
        f"{WHOLE_ROWS} answers in {BATCH_SECONDS:.0f} s. The clients share the machine's cores.",
        "",
        "| replicas | messages per second | of those due | processor time of each, µs | cores | "
        "of them its busiest thread | heartbeat answered, ms: median, 99 % | driver's poll "
        "answered, ms |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|",
        *map(_load_row, loads),
        "",
        f"Its busiest thread could take {_capacity(loads):,.0f} messages per second, those of "
        f"{_capacity(loads) / DUE:,.0f} replicas. A poll is "
        f"{held.poll_seconds * 1e3:.2f} ms of processor time with {MANY:,} replicas, the list of "
        f"all of them {held.list_seconds * 1e3:.1f} ms, once a run. It holds "
        f"{held.replica_bytes / 1e3:.1f} kB for each replica and {held.batch_bytes:.0f} bytes for "
        "each batch.",
        "",
    ]


def _load_row(load: Load) -> str:
    median, most = statistics.median(load.heartbeats), _percentile(load.heartbeats, 0.99)
    return (
        f"| {load.replicas:,} | {load.messages:,.0f} | {load.messages / DUE / load.replicas:.2f} "
        f"| {load.seconds_each * 1e6:.0f} "
        f"| {load.share:.2f} | {load.busiest_thread:.2f} | {median * 1e3:.0f}, {most * 1e3:.0f} "
        f"| {statistics.median(load.polls) * 1e3:.0f} |"
    )


def _percentile(ordered: Sequence[float], share: float) -> float:
    return ordered[int(len(ordered) * share)]


def _capacity(loads: Sequence[Load]) -> float:
    """Messages a second that one core could take, by the median load."""
    return statistics.median(load.messages / load.busiest_thread for load in loads)


def _run(pools: Sequence[Pool]) -> list[str]:
    return [
        "### Whole runs with simulated engines",
        "",
        "Each replica is a process on a Ray cluster, with the job's own code around an engine that "
        f"takes its time; it has {BATCHES_IN_FLIGHT} batches at a time. Shares are of a core, "
        "while all replicas are at work.",
        "",
        "| replicas | seconds for a batch | records per second ÷ what engines could | Ray tasks "
        "per second | driver | of it Ray Data's loop | its steps per second | ms each | "
        "coordinator | GCS | raylet |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
        *map(_pool_row, pools),
        "",
        _extrapolated(pools),
        "",
    ]


def _pool_row(pool: Pool) -> str:
    return (
        f"| {pool.replicas} | {pool.batch_seconds} | {pool.rate:.2f} | {pool.tasks:.1f} "
        f"| {pool.driver:.3f} | {pool.loop:.3f} | {pool.steps:.1f} "
        f"| {pool.loop / pool.steps * 1e3:.1f} | {pool.coordinator:.3f} | {pool.gcs:.3f} "
        f"| {pool.raylet:.3f} |"
    )


def _extrapolated(pools: Sequence[Pool]) -> str:
    """By the plane that fits the driver's share best, over replicas and tasks a second."""
    known = np.array([[1.0, pool.replicas, pool.tasks] for pool in pools])
    base, replica, task = np.linalg.lstsq(known, np.array([p.driver for p in pools]), rcond=None)[0]
    tasks = MANY / BATCH_SECONDS
    cores = base + replica * MANY + task * tasks
    return (
        f"A fit to these: the driver takes {base:.3f} of a core, {replica * 1e3:.2f} ms per second "
        f"for each replica and {task * 1e3:.1f} ms for each task. {MANY:,} replicas with a batch "
        f"every {BATCH_SECONDS:.0f} s, {tasks:.0f} tasks per second, would take {cores:.2f}."
    )
