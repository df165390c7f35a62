"""Ray clusters of several nodes on this machine, for tests."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ray.cluster_utils import Cluster

KEEPS_WORKERS = {"num_workers_soft_limit": 6, "idle_worker_killing_time_threshold_ms": 30_000}
"""With two CPUs a node Ray would end a process after an idle second, and take one or two to start
the next."""

SOON_MISSED = {"health_check_period_ms": 500, "health_check_failure_threshold": 3}
"""A node that is gone is taken for dead after two seconds; left to itself, Ray takes fifteen."""

MEMORY = 256 * 2**20
"""What a node has for blocks, in bytes."""


@contextmanager
def nodes(
    head: Mapping[str, Any], *others: Mapping[str, Any], system: Mapping[str, Any] = KEEPS_WORKERS
) -> Iterator[Cluster]:
    """A head and other nodes, each as Ray's `add_node` takes it."""
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
