"""A store that cannot be listed is not empty: what reads it ends with an error that names it."""

import errno
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipeline.cluster.in_process import InProcess
from pipeline.config.schema import Job
from pipeline.core.errors import StorageError
from pipeline.core.filesystem import Location, Storage
from pipeline.results.export.files import export_papers, export_records
from pipeline.results.pages.run_page import write_report
from pipeline.runs.recheck import recheck_store
from pipeline.store import read_answers
from pipeline.store.compaction import compact
from pipeline.store.history import History
from pipeline.store.run_file import RunFile
from pipeline.store.runs import active_runs, all_runs, last_measured
from tests.support.jobs import ignore, job, job_file, plan, rows, run, write_jsonl

FAILURES = (errno.EACCES, errno.ESTALE, errno.EIO)


@pytest.fixture
def task(tmp_path: Path) -> Job:
    """A job whose store holds ten answers and a reject, also in a folder below its own."""
    write_jsonl(tmp_path / "in/a.jsonl", [*rows(range(10)), {"record_id": "empty"}])
    task = job(tmp_path / "in", tmp_path / "store")
    run(task, "monday")
    for kind in ("answers", "rejects"):
        (tmp_path / "store" / kind / "moved").mkdir()
    return task


def store_of(task: Job) -> Location:
    return Storage().at(task.output.uri)


def again(task: Job) -> RunFile:
    return RunFile.named(store_of(task), task, {}, "monday")


READERS: dict[str, tuple[tuple[str, ...], Callable[[Job], Any]]] = {
    "plan": (("answers", "answers/moved", "rejects", "rejects/moved"), plan),
    "run": (("answers", "answers/moved", "rejects", "rejects/moved"), run),
    "history": (("answers",), lambda task: History.of(store_of(task))),
    "compact": (("answers", "rejects"), lambda task: compact(store_of(task), datetime.now(UTC))),
    "recheck": (("answers", "runs"), lambda task: recheck_store(task, InProcess(), ignore)),
    "export": (
        ("answers", "answers/moved"),
        lambda task: export_records(store_of(task), f"{task.output.uri}.csv", Storage()),
    ),
    "wide": (
        ("answers",),
        lambda task: export_papers(store_of(task), f"{task.output.uri}.csv", Storage()),
    ),
    "page": (("answers", "rejects", "runs"), lambda task: write_report(store_of(task), task)),
    "dataset": (("answers",), lambda task: read_answers(task.output.uri)),
    "runs": (("runs", "runs/monday"), lambda task: list(all_runs(store_of(task)))),
    "active runs": (("runs", "runs/monday"), lambda task: active_runs(store_of(task))),
    "rate": (("runs",), lambda task: last_measured(store_of(task), task)),
    "resumed run": (("runs/monday",), again),
}


@pytest.mark.parametrize("error", FAILURES, ids=errno.errorcode.get)
@pytest.mark.parametrize(
    ("reader", "below"), [(name, below) for name, (all_, _) in READERS.items() for below in all_]
)
def test_a_folder_of_the_store_that_cannot_be_listed_ends_whatever_reads_it(
    task: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: str, below: str, error: int
) -> None:
    folder, real = tmp_path / "store" / below, os.scandir
    before = sorted((tmp_path / "store").rglob("part-*"))

    def scandir(where: Any) -> Any:
        if str(where) == str(folder):
            raise OSError(error, os.strerror(error), str(where))
        return real(where)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(StorageError, match=os.strerror(error)) as caught:
        READERS[reader][1](task)
    monkeypatch.undo()

    assert str(folder) in str(caught.value)
    assert sorted((tmp_path / "store").rglob("part-*")) == before


def test_the_command_says_which_folder_and_what_to_do_and_ends_with_3(
    task: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Any
) -> None:
    file = job_file(tmp_path / "job.yaml", task)
    answers = tmp_path / "store/answers"
    answers.rename(tmp_path / "elsewhere")
    answers.symlink_to(tmp_path / "unmounted")

    done = command("plan", file)

    assert done.returncode == 3
    assert f"{answers} is a link that leads nowhere" in done.stderr


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("nowhere")])
def test_a_part_that_is_no_file_is_an_error_and_never_opened(
    task: Job, tmp_path: Path, make: Callable[[Path], object]
) -> None:
    make(part := tmp_path / "store/answers/part-20260101T000000Z-aaaa-0123456789ab.parquet")

    with pytest.raises(StorageError, match=part.name):
        plan(task)


def test_a_store_that_is_not_there_yet_is_empty(task: Job, tmp_path: Path) -> None:
    first = task.model_copy(update={"output": job("x", tmp_path / "new").output})

    assert plan(first).totals.standings["work"] == 10
