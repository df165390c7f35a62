"""Which ids of an input stand for different content, known to all processes of a run."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.core.identity import Rows, as_rows
from pipeline.core.own_id import Named, examples_of

Numbers = npt.NDArray[np.uint64]


class Conflicts(NamedTuple):
    """What was met more than once, each sorted; both are empty for most inputs."""

    shared: Numbers  # digests of ids that stand for different content
    copies: Numbers  # places of records that stand elsewhere, word for word, further in front


class Identities:
    """Collects the identities of records as they are read: 24 bytes for each id.

    A task that is done twice adds the same records, which changes nothing.
    """

    def __init__(self) -> None:
        self._records = FirstComers(3)
        self._holders = FirstComers(2)
        self._crowded = [np.empty((3, 0), np.uint64)]
        self._shared: list[Named] = []
        self._copies: list[Named] = []

    def add(self, identities: bytes) -> None:
        """Adds records, each as its `IDENTITY_BYTES`."""
        rows = as_rows(identities)
        firsts = self._records.first(rows)
        others = (rows != firsts).any(axis=0)
        if others.any():
            self._crowded += [rows[:, others], firsts[:, others]]

    def claim(self, ids: Numbers, contents: Numbers) -> npt.NDArray[np.bool_]:
        """Which contents are the first to ask for these ids; an id goes to one content only."""
        holders = self._holders.first(np.stack([ids, contents]))
        granted: npt.NDArray[np.bool_] = holders[1] == contents
        return granted

    def conflicts(self) -> Conflicts:
        """Among all records added so far."""
        self._crowded = [_distinct(np.concatenate(self._crowded, axis=1))]
        ids, contents, places = self._crowded[0]
        starts_content = np.ones(len(ids), bool)
        starts_content[1:] = (ids[1:] != ids[:-1]) | (contents[1:] != contents[:-1])
        of_contents = ids[starts_content]
        shared = np.unique(of_contents[1:][of_contents[1:] == of_contents[:-1]])
        return Conflicts(shared, np.sort(places[~starts_content]))

    def has_met_twice(self, rows: Rows) -> npt.NDArray[np.bool_]:
        """Which of these records, all of them added, are not the only ones of their ids."""
        self.conflicts()
        return np.isin(rows[0], self._crowded[0][0])

    def name(self, shared: Iterable[Named], copies: Iterable[Named]) -> None:
        """Keeps a few of these as examples."""
        self._shared = examples_of([*self._shared, *shared])
        self._copies = examples_of([*self._copies, *copies])

    def summary(self) -> dict[str, Any]:
        """The section `ids` of `run.json`: counts of all that was read, and examples."""
        shared, copies = self.conflicts()
        ids, _, places = self._crowded[0]
        records = np.isin(ids, shared) & ~np.isin(places, copies)
        return {
            "shared": len(shared),
            "records": int(records.sum()),
            "examples": [
                {
                    "id": user_id,
                    "records": [{"place": n.place, "record_id": n.record_id} for n in g],
                }
                for user_id, g in _by_id(self._shared)
            ],
            "identical": len(copies),
            "copies": [
                {"id": user_id, "places": [n.place for n in g]}
                for user_id, g in _by_id(self._copies)
            ],
        }


def _by_id(named: list[Named]) -> Iterable[tuple[str, list[Named]]]:
    groups: dict[str, list[Named]] = {}
    for one in named:
        groups.setdefault(one.user_id, []).append(one)
    return groups.items()


def _distinct(rows: Rows) -> Rows:
    """Different rows in their order."""
    rows = rows[:, np.lexsort(rows[::-1])]
    differs = np.ones(rows.shape[1], bool)
    differs[1:] = (rows[:, 1:] != rows[:, :-1]).any(axis=0)
    return rows[:, differs]


class FirstComers:
    """The first row that came for each id, in sorted runs that are merged as they grow."""

    def __init__(self, height: int) -> None:
        self._runs = [np.empty((height, 0), np.uint64)]

    def first(self, rows: Rows) -> Rows:
        """For each row, the first that ever came with the id on its top: itself if none did."""
        order = np.argsort(rows[0], kind="stable")
        ids = rows[0][order]
        starts = np.ones(len(ids), bool)
        starts[1:] = ids[1:] != ids[:-1]
        leaders, followed = rows[:, order[starts]], np.cumsum(starts) - 1
        is_new = np.ones(leaders.shape[1], bool)
        for run in filter(np.size, self._runs):
            at = np.searchsorted(run[0], leaders[0]).clip(max=run.shape[1] - 1)
            known = run[0][at] == leaders[0]
            leaders[:, known] = run[:, at[known]]
            is_new &= ~known
        self._insert(leaders[:, is_new])
        firsts = np.empty_like(rows)
        firsts[:, order] = leaders[:, followed]
        return firsts

    def _insert(self, run: Rows) -> None:
        while self._runs and self._runs[-1].shape[1] < 2 * run.shape[1]:
            both = np.concatenate([self._runs.pop(), run], axis=1)
            run = both[:, np.argsort(both[0], kind="stable")]
        self._runs.append(run)


class ClusterIdentities(Identities):
    """The identities that an actor keeps for all processes of a cluster."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def add(self, identities: bytes) -> None:
        self._call("add", identities)

    def claim(self, ids: Numbers, contents: Numbers) -> npt.NDArray[np.bool_]:
        granted: npt.NDArray[np.bool_] = self._call("claim", ids, contents)
        return granted

    def conflicts(self) -> Conflicts:
        conflicts: Conflicts = self._call("conflicts")
        return conflicts

    def name(self, shared: Iterable[Named], copies: Iterable[Named]) -> None:
        self._call("name", list(shared), list(copies))

    def summary(self) -> dict[str, Any]:
        summary: dict[str, Any] = self._call("summary")
        return summary

    def _call(self, method: str, *arguments: object) -> Any:
        import ray

        return ray.get(getattr(self._actor, method).remote(*arguments))
