"""How many more records a run may work on, shared by all its tasks: `--limit`."""

from typing import Any


class Limit:
    """Grants a number of records in all, first come, first served.

    What was granted is not given back: a task that is done twice takes twice.
    """

    def __init__(self, records: int) -> None:
        self._left = records

    def take(self, records: int) -> int:
        """How many of these records may be worked on."""
        granted = min(records, self._left)
        self._left -= granted
        return granted

    def is_spent(self) -> bool:
        return self._left == 0


class ClusterLimit(Limit):
    """The limit that an actor keeps for all processes of a cluster."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def take(self, records: int) -> int:
        import ray

        granted: int = ray.get(self._actor.take.remote(records)) if records else 0
        return granted

    def is_spent(self) -> bool:
        import ray

        spent: bool = ray.get(self._actor.is_spent.remote())
        return spent
