"""Runs the stages of a flow with Ray Data, and keeps the actors that a run needs beside it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import cached_property, partial, reduce, wraps
from typing import Any, Self, TypeVar, cast

import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy, DataContext, Dataset
from ray.data.block import BlockMetadata
from ray.data.datasource import Datasource
from ray.data.datasource import ReadTask as RayReadTask
from ray.exceptions import GetTimeoutError

from pipeline.cluster.account import Terms
from pipeline.cluster.coordinator import Coordinator, Replica
from pipeline.cluster.counters import RunCounts
from pipeline.cluster.executor import ReadTask, Stage
from pipeline.cluster.identities import ClusterIdentities, Identities
from pipeline.cluster.limit import ClusterLimit, Limit
from pipeline.cluster.placement import placement
from pipeline.cluster.reporter import ClusterReporter, Reporter
from pipeline.cluster.session import actor_beside_driver, cause_of, cluster
from pipeline.config.schema import EngineConfig
from pipeline.core.arrow import receipts_in
from pipeline.core.errors import EngineError
from pipeline.core.processes import set_up_worker

T = TypeVar("T")

BARREN_DEATHS = 5
"""This many replicas lost in a row, with no batch answered between them, are no accidents."""

COUNTS_SECONDS = 5.0
"""The driver waits no longer to hear how far a run has got."""

MOST_NAMED = 8
"""Replicas that a message names."""


class TaskSource(Datasource):
    """Read tasks as Ray Data wants them."""

    def __init__(self, tasks: Sequence[ReadTask], stages: Sequence[Stage]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._tasks = tasks
        self._stages = stages

    def estimate_inmemory_data_size(self) -> int:
        return sum(size for _, size in self._tasks)

    def get_read_tasks(
        self,
        parallelism: int,
        per_task_row_limit: int | None = None,
        data_context: DataContext | None = None,
    ) -> list[RayReadTask]:
        return [
            RayReadTask(
                partial(_read, tables, self._stages),
                BlockMetadata(None, size, None, None),
                per_task_row_limit=per_task_row_limit,
            )
            for tables, size in self._tasks
        ]


def _read(tables: Callable[[], Iterable[pa.Table]], stages: Sequence[Stage]) -> Iterator[pa.Table]:
    set_up_worker()
    for table in tables():
        yield reduce(lambda made, stage: stage(made), stages, table)


def _in_worker(stage: Stage) -> Stage:
    """The stage in a process that is set up for it, under the name that Ray Data shows."""

    @wraps(getattr(stage, "func", stage))
    def in_worker(table: pa.Table) -> pa.Table:
        set_up_worker()
        return stage(table)

    return in_worker


@ray.remote
def _made_in_worker(make: Callable[[], Any]) -> Any:
    set_up_worker()
    return make()


def _replica_in_worker(replica: type[Any], on_gpus: bool) -> type[Any]:
    """The same for a class of replicas."""

    def in_worker(self: Any, *arguments: Any) -> None:
        set_up_worker(on_gpus, has_engine=True)
        replica.__init__(self, *arguments)

    return type(replica.__name__, (replica,), {"__init__": in_worker})


@dataclass(frozen=True, slots=True)
class RayStream:
    """A data set; see `Stream`."""

    dataset: Dataset
    executor: "RayData"

    def map(self, stage: Stage) -> "RayStream":
        call = _in_worker(stage)
        return self._with(self.dataset.map_batches(call, batch_format="pyarrow", batch_size=None))

    def in_blocks(self, rows: int) -> "RayStream":
        return self._with(self.dataset.repartition(target_num_rows_per_block=rows))

    def together(self, column: str | None, partitions: int) -> "RayStream":
        # A shuffle has processes of its own to start, which one partition does not need.
        keys = [column] if column and partitions > 1 else None
        return self._with(self.dataset.repartition(partitions, keys=keys))

    def in_order(self, columns: Sequence[str]) -> "RayStream":
        return self._with(self.dataset.sort([*columns], descending=True))

    def through_replicas(
        self, replica: type[Any], arguments: tuple[Any, ...], engine: EngineConfig, batches: int
    ) -> "RayStream":
        return self._with(
            self.dataset.map_batches(
                _replica_in_worker(replica, on_gpus=engine.gpus > 0),
                fn_constructor_args=arguments,
                batch_format="pyarrow",
                batch_size=1,
                compute=ActorPoolStrategy(
                    min_size=engine.replicas.min,
                    max_size=engine.replicas.max,
                    max_concurrent_calls_per_actor=batches,
                    max_tasks_in_flight_per_actor=batches + 1,
                ),
                **self.executor.places(engine),
            )
        )

    def receipts(self) -> Iterator[Any]:
        """What fails on the cluster is raised as an error of ours."""
        tables = self.dataset.iter_batches(
            batch_size=None, batch_format="pyarrow", prefetch_batches=0
        )
        try:
            for table in tables:
                yield from receipts_in(cast(pa.Table, table))
        except GetTimeoutError as error:
            raise EngineError(self.executor.missing_replicas()) from error
        except Exception as error:  # Ray Data raises more than Ray's own errors
            raise cause_of(error) from error

    def _with(self, dataset: Dataset) -> "RayStream":
        return RayStream(dataset, self.executor)


class RayData:
    """See `Executor`: on the cluster that `RAY_ADDRESS` names, or on one of its own.

    It keeps a coordinator, and makes sure of the places of replicas if there is an `engine`.
    """

    def __init__(self, engine: EngineConfig | None = None, debug: bool = False) -> None:
        self._engine = engine
        self._debug = debug
        self._block = ExitStack()
        self._coordinator: Any = None
        self._places: dict[str, Any] | None = None
        self.reporter: Reporter = Reporter()

    def __enter__(self) -> Self:
        with ExitStack() as block:
            block.enter_context(cluster(self._engine, self._debug))
            most = self._engine.replicas.max if self._engine else 0
            self._coordinator = block.enter_context(actor_beside_driver(Coordinator, most))
            # Replicas that one node takes with it are one accident.
            self.reporter = ClusterReporter(self._coordinator, BARREN_DEATHS + most - 1)
            self._block = block.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._block.__exit__(*error)

    def read(self, tasks: Sequence[ReadTask], *stages: Stage) -> RayStream:
        # Told how many tasks there are, Ray Data does not cut their blocks up to make two hundred.
        source = TaskSource(tasks, stages)
        return RayStream(ray.data.read_datasource(source, override_num_blocks=len(tasks)), self)

    def share(self, value: T) -> Callable[[], T]:
        get: Callable[[], T] = partial(ray.get, ray.put(value))  # type: ignore[assignment]
        return get

    def compute(self, make: Callable[[], T]) -> Callable[[], T]:
        get: Callable[[], T] = partial(ray.get, _made_in_worker.remote(make))  # type: ignore[assignment]
        return get

    def limit(self, records: int) -> ClusterLimit:
        return ClusterLimit(self._block.enter_context(actor_beside_driver(Limit, records)))

    @cached_property
    def identities(self) -> ClusterIdentities:
        return ClusterIdentities(self._block.enter_context(actor_beside_driver(Identities)))

    def places(self, engine: EngineConfig) -> dict[str, Any]:
        """How Ray places the replicas; the places are free again at the end of the block. Streams
        that follow each other have replicas in the same places.
        """
        if self._places is None:
            self._places = self._block.enter_context(placement(engine))
        return self._places

    def end(self, seconds: float) -> None:
        self._coordinator.end.remote(seconds)

    def open_account(self, terms: Terms) -> None:
        ray.get(self._coordinator.open_account.remote(terms))

    def allow(self, amount: float) -> None:
        self._coordinator.allow.remote(amount)

    def counts(self, before: RunCounts) -> RunCounts:
        try:
            counts: RunCounts = ray.get(self._coordinator.counts.remote(), timeout=COUNTS_SECONDS)
        except Exception:  # noqa: BLE001  what ails the cluster, the run itself will meet
            return before
        return counts

    def replicas(self) -> list[dict[str, Any]]:
        return [asdict(replica) for replica in self._replicas()]

    def missing_replicas(self) -> str:
        """Which replicas have found no place in the time allowed, in one line."""
        engine, placed = self._engine or EngineConfig(), [str(r) for r in self._replicas()]
        more = f" and {len(placed) - MOST_NAMED} more" if len(placed) > MOST_NAMED else ""
        where = f": {', '.join(placed[:MOST_NAMED])}{more}" if placed else ""
        return (
            f"engine.start_seconds: after {engine.start_seconds} s {len(placed)} of "
            f"{engine.replicas.min} replicas had a place in the cluster (GPUs for each: "
            f"{engine.gpus}){where}"
        )

    def _replicas(self) -> list[Replica]:
        listed: list[Replica] = ray.get(self._coordinator.replicas.remote())
        return listed
