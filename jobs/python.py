"""Jobs from Python, without a terminal: `from pipeline import run, preview, read_answers`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from rich.console import Console

from pipeline.answering.checks import check_names
from pipeline.config.loading import job_of, load_mapping
from pipeline.config.schema import Job
from pipeline.config.selection import Selection, select

if TYPE_CHECKING:
    import pyarrow.dataset as ds

JobLike: TypeAlias = str | Path | Mapping[str, Any]
"""The path of a job file, or what would stand in one."""

Only: TypeAlias = Mapping[str, str | Sequence[str]]
"""The records to work on: a field, or a column of one's own, and the values that it may have."""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a run; `document` is its `run.json`."""

    document: Mapping[str, Any]
    job: Job

    @property
    def run_id(self) -> str:
        return str(self.document["run_id"])

    @property
    def status(self) -> str:
        """`done`, `over_budget` if too many answers failed, `stopped`, `failed`, …"""
        return str(self.document["status"])

    @property
    def counts(self) -> Mapping[str, int]:
        """Records by state; `read` is the sum of `answered`, `failed`, `rejected` and `current`."""
        counts: Mapping[str, int] = self.document["counts"]
        return counts

    def answers(self) -> "ds.Dataset":
        """The rows of the store that count now, of this run and of those before it, read lazily."""
        from pipeline.store import read_answers

        return read_answers(self.job.output.uri, self.job.storage)


def run(
    job: JobLike,
    *,
    only: Only | None = None,
    limit: int | None = None,
    retry: Sequence[str] = (),
    console: Console | None = None,
    **overrides: Any,
) -> Result:
    """Answers what the store does not hold yet, as `overnight run` does.

    `overrides` replace what the job has: `run("job.yaml", attempts=1, engine={"model": "m"})`
    changes one key of `engine` and leaves the others. `console` shows progress, by default on
    standard error. Raises `OvernightError`: `ConfigError` before anything starts, `StorageError`,
    `EngineError` and others later.
    """
    from jobs.run import main

    made = _made(job, overrides)
    selection = _selection(made, only, limit, retry)
    _, document = main(console or _console(), made, selection, None, debug=False)
    return Result(document, made)


def preview(
    job: JobLike,
    *,
    only: Only | None = None,
    limit: int = 3,
    against: str | None = None,
    console: Console | None = None,
    **overrides: Any,
) -> dict[str, Any]:
    """Answers a few records in this process and stores nothing, as `overnight preview` does.

    The document is that of `--json`: `records` with prompt, reasoning, answer and checks, and
    `rejects`. Raises what `run` raises.
    """
    from jobs.preview import main

    made = _made(job, overrides)
    selection = _selection(made, only, limit, ())
    return main(console or Console(quiet=True), made, selection, against, debug=False)[1]


def _made(job: JobLike, overrides: Mapping[str, Any]) -> Job:
    given = load_mapping(job) if isinstance(job, (str, Path)) else job
    return job_of(_over(given, overrides), str(job) if isinstance(job, (str, Path)) else "job")


def _over(given: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A mapping with some of its values replaced, inside its own mappings too."""
    merged = dict(given)
    for name, value in changes.items():
        inner = merged.get(name)
        both = isinstance(inner, Mapping) and isinstance(value, Mapping)
        merged[name] = _over(inner, value) if both else value  # type: ignore[arg-type]
    return merged


def _selection(job: Job, only: Only | None, limit: int | None, retry: Sequence[str]) -> Selection:
    pairs = [
        f"{name}={value}"
        for name, values in (only or {}).items()
        for value in ([values] if isinstance(values, str) else values)
    ]
    return select(pairs, limit, retry, check_names(job.checks))


def _console() -> Console:
    return Console(stderr=True, highlight=False, soft_wrap=True)
