"""How many more records a run may work on, shared by all tasks of the cluster: `--limit`."""

from typing import Any

import ray

from pipeline.cluster.session import beside_driver


class _Purse:
    """An actor; what has been taken is not given back, so that a task done twice takes twice."""

    def __init__(self, left: int) -> None:
        self._left = left

    def take(self, asked: int) -> int:
        given = min(asked, self._left)
        self._left -= given
        return given

    def left(self) -> int:
        return self._left


class Allowance:
    """At most so many records, whoever comes first."""

    def __init__(self, limit: int) -> None:
        self._purse: Any = beside_driver(_Purse).remote(limit)

    def take(self, asked: int) -> int:
        """How many of the records asked for may be worked on."""
        given: int = ray.get(self._purse.take.remote(asked)) if asked else 0
        return given

    def is_spent(self) -> bool:
        left: int = ray.get(self._purse.left.remote())
        return left == 0
