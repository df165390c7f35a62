"""What runs the stages of a flow: Ray Data on a cluster, or this process alone.

A flow is written once, against these protocols. A stage is a function from table to table; it knows
nothing of what runs it, and an executor knows nothing of the stages.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, Self, TypeAlias, TypeVar

import pyarrow as pa

from pipeline.cluster.account import Terms
from pipeline.cluster.counters import RunCounts
from pipeline.cluster.identities import Identities
from pipeline.cluster.limit import Limit
from pipeline.cluster.reporter import Reporter
from pipeline.config.schema import EngineConfig

T = TypeVar("T")

Stage: TypeAlias = Callable[[pa.Table], pa.Table]

ReadTask: TypeAlias = tuple[Callable[[], Iterable[pa.Table]], int]
"""What makes tables, and the stored bytes that it reads for them."""


class Stream(Protocol):
    """Tables on their way through the stages."""

    def map(self, stage: Stage) -> Self:
        """Every table through a stage."""
        ...

    def in_blocks(self, rows: int) -> Self:
        """Tables of at most this many rows."""
        ...

    def together(self, column: str | None, partitions: int) -> Self:
        """Rows with the same value in one table; needs all tables before it hands on the first.

        Without a column, in this many tables of any rows.
        """
        ...

    def in_order(self, columns: Sequence[str]) -> Self:
        """Rows by the numbers in these columns, higher ones first; needs all tables before it hands
        on the first.
        """
        ...

    def through_replicas(
        self, replica: type[Any], arguments: tuple[Any, ...], engine: EngineConfig, batches: int
    ) -> Self:
        """Every table through one of the replicas, each made once from the arguments.

        Each is called with a table and returns an awaitable one, for `batches` tables at a time.
        """
        ...

    def receipts(self) -> Iterator[Any]:
        """The values that the last stage put into its receipts, as they come."""
        ...


class Executor(AbstractContextManager["Executor"], Protocol):
    """Runs flows as long as its block lasts."""

    @property
    def reporter(self) -> Reporter: ...

    def read(self, tasks: Sequence[ReadTask], *stages: Stage) -> Stream:
        """The tables of all tasks; stages named here take each table as soon as it is read."""
        ...

    def share(self, value: T) -> Callable[[], T]:
        """Makes a value available to every stage; one copy a node."""
        ...

    def compute(self, make: Callable[[], T]) -> Callable[[], T]:
        """Makes a value available that is computed beside the stages, or when one asks for it."""
        ...

    def limit(self, records: int) -> Limit: ...

    @property
    def identities(self) -> Identities:
        """Those of all records that this executor's flows have read."""
        ...

    def end(self, seconds: float) -> None:
        """Has replicas begin nothing more; what is in flight has this many seconds."""
        ...

    def open_account(self, terms: Terms) -> None:
        """Begins the account of what replicas spend, within the block and before they start."""
        ...

    def allow(self, amount: float) -> None:
        """Lets replicas spend and reserve so much, all starts of the run together."""
        ...

    def counts(self, before: RunCounts) -> RunCounts:
        """What tasks and replicas have counted; `before` if nobody says so in time."""
        ...

    def replicas(self) -> list[dict[str, Any]]:
        """Every replica that has reported, for the record of a run."""
        ...
