"""What a store's run files say of its answers: versions of checks, and which columns it keeps."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self, TypeAlias

import orjson

from pipeline.answering.checks.base import StoredColumns

Start: TypeAlias = tuple[datetime, Mapping[str, str]]
"""When a run started, and the digests of its checks of the user's own."""


@dataclass(frozen=True, slots=True)
class PastRuns:
    """The runs of a store, by their ids."""

    starts: Mapping[str, Sequence[Start]] = field(default_factory=dict)  # oldest first
    carried: Mapping[str, Any] = field(default_factory=dict)  # `output.carry`

    @classmethod
    def of(cls, runs: Iterable[Mapping[str, Any]]) -> Self:
        """From the contents of `run.json` files."""
        starts: dict[str, Sequence[Start]] = {}
        carried: dict[str, Any] = {}
        for run in runs:
            starts[run["run_id"]] = sorted(map(_start, (*run.get("resumed", ()), run)), key=_time)
            carried[run["run_id"]] = run["job"]["output"].get("carry")
        return cls(starts, carried)

    def digests(self, row: Mapping[str, Any]) -> Mapping[str, str]:
        """Digests of the user's own checks when a row was written; empty if no run file tells."""
        starts = self.starts.get(row["run_id"], ())
        before = [digests for time, digests in starts if time <= row["written_at"]]
        return before[-1] if before else {}

    def columns(self, row: Mapping[str, Any]) -> StoredColumns:
        """The columns of a row's record, as far as the store holds them."""
        carried = self.carried.get(row["run_id"])
        names = () if carried is None or carried == "all" else carried
        stored = orjson.loads(row.get("extra") or b"{}")
        return StoredColumns(stored, frozenset(names), is_all=carried == "all")


def _start(run: Mapping[str, Any]) -> Start:
    return datetime.fromisoformat(run["started_at"]), run.get("own_checks") or {}


def _time(start: Start) -> datetime:
    return start[0]
