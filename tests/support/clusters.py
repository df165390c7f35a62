"""Ray clusters of several nodes on this machine, for tests."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ray.cluster_utils import Cluster

KEEPS_WORKERS = {
    "num_workers_soft_limit": 6,
    "idle_worker_killing_time_threshold_ms": 300_000,
    "worker_niceness": 0,
}
"""By default Ray ends idle processes of a node with two CPUs after a second, takes one or two
seconds to start the next, and lets them starve beside another test's engine."""

QUICK_HEALTH_CHECKS = {"health_check_period_ms": 500, "health_check_failure_threshold": 5}
"""A lost node counts as dead after three seconds; by default after fifteen."""

MEMORY = 256 * 2**20
"""Bytes of a node's object store."""


@contextmanager
def nodes(
    head: Mapping[str, Any], *others: Mapping[str, Any], system: Mapping[str, Any] = KEEPS_WORKERS
) -> Iterator[Cluster]:
    """A cluster of a head and other nodes, each with its arguments for Ray's `add_node`."""
    cluster = Cluster(
        initialize_head=True,
        head_node_args={
            "object_store_memory": MEMORY,
            "include_dashboard": False,  # a handful of processes that take seconds to start
            "_system_config": dict(system),
            **head,
        },
    )
    try:
        for node in others:
            cluster.add_node(**{"object_store_memory": MEMORY, **node})
        cluster.wait_for_nodes()
        yield cluster
    finally:
        cluster.shutdown()
