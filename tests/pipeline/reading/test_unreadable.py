"""An input of which a part cannot be listed or read: a reject for that part, and all the rest."""

import errno
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.errors import ConfigError, StorageError
from pipeline.runs.doctor import _input
from tests.support.jobs import counts, job, job_file, plan, rows, run, stored, write_jsonl

READ = {"read": 30, "answered": 30}


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Three folders of ten records each."""
    for at, name in enumerate(("a", "b", "b/c")):
        write_jsonl(tmp_path / "in" / name / "0.jsonl", rows(range(at * 10, at * 10 + 10)))
    return tmp_path / "in"


def fail_below(monkeypatch: pytest.MonkeyPatch, path: Path, error: int) -> None:
    real = os.scandir

    def scandir(where: Any) -> Any:
        if str(where) == str(path):
            raise OSError(error, os.strerror(error), str(where))
        return real(where)

    monkeypatch.setattr(os, "scandir", scandir)


@pytest.mark.parametrize("error", [errno.EACCES, errno.ESTALE, errno.EIO])
def test_a_folder_that_cannot_be_listed_is_one_reject_until_it_can(
    shards: Path, tmp_path: Path, error: int
) -> None:
    task = job(shards, tmp_path / "store")
    with pytest.MonkeyPatch.context() as patch:
        fail_below(patch, shards / "b/c", error)

        assert plan(task).totals.reasons == {"unreadable": 1}
        assert counts(run(task)) == {"read": 21, "answered": 20, "rejected": 1}
        assert counts(run(task)) == {"read": 21, "current": 20, "rejected": 1}

    (reject,) = stored(tmp_path / "store", "rejects").to_pylist()
    assert (reject["reason"], reject["source_uri"]) == ("unreadable", f"file://{shards}/b/c")
    assert os.strerror(error) in reject["detail"]
    assert counts(run(task)) == {"read": 30, "answered": 10, "current": 20}


@pytest.mark.parametrize("error", [errno.EACCES, errno.ESTALE, errno.EIO])
def test_an_input_that_cannot_be_listed_ends_the_job(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    fail_below(monkeypatch, shards, error)

    with pytest.raises(StorageError, match=os.strerror(error)):
        run(job(shards, tmp_path / "store"))

    assert not (tmp_path / "store").exists()


def test_what_is_no_regular_file_is_a_reject_each_and_links_are_followed(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = write_jsonl(tmp_path / "outside/more.jsonl", rows(range(30, 40)))
    (shards / "linked").symlink_to(outside.parent)
    (shards / "b/loop").symlink_to(shards)
    os.mkfifo(shards / "pipe.jsonl")
    monkeypatch.chdir(shards)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.jsonl")
    (shards / "device.jsonl").symlink_to("/dev/zero")
    (shards / "gone.jsonl").symlink_to("nowhere")

    document = run(job(shards, tmp_path / "store"))

    assert counts(document) == {"read": 44, "answered": 40, "rejected": 4}
    details = {Path(r["source_uri"]).stem: r["detail"] for r in rejects(tmp_path)}
    assert details == {
        "pipe": "a named pipe, not a file",
        "socket": "a socket, not a file",
        "device": "a character device, not a file",
        "gone": f"{shards}/gone.jsonl is a link that leads nowhere, to nowhere",
    }


def rejects(tmp_path: Path) -> list[dict[str, Any]]:
    return stored(tmp_path / "store", "rejects").to_pylist()


@pytest.mark.parametrize("size", [100, 3_000_000])
def test_a_file_that_has_become_a_pipe_since_it_was_listed_is_a_reject(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    from pipeline.answering import prepare

    late = shards / "late.jsonl"
    late.write_bytes(b" " * size)
    real = prepare.list_shards

    def listed(*arguments: Any) -> Any:
        listing = real(*arguments)
        late.unlink()
        os.mkfifo(late)
        return listing

    monkeypatch.setattr(prepare, "list_shards", listed)

    assert counts(run(job(shards, tmp_path / "store"))) == {**READ, "read": 31, "rejected": 1}
    (reject,) = rejects(tmp_path)
    assert (reject["reason"], reject["detail"]) == ("unreadable", "a named pipe, not a file")


@pytest.mark.parametrize("uri", ["pipe", "pipe/*.jsonl", "gone", "gone/deep", "gone/*.jsonl"])
def test_an_input_that_is_no_file_and_no_folder_is_wrong_configuration(
    tmp_path: Path, uri: str
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "gone").symlink_to("nowhere")

    with pytest.raises(ConfigError, match=r"input\.uri: file://"):
        run(job(tmp_path / uri, tmp_path / "store"))


def test_a_store_that_a_link_in_the_input_leads_to_is_inside_the_input(
    shards: Path, tmp_path: Path
) -> None:
    task = job(shards, tmp_path / "store")
    run(task)
    for target in (tmp_path, tmp_path / "store", tmp_path / "store/answers"):
        (shards / "link").symlink_to(target)
        with pytest.raises(ConfigError, match="inside the input"):
            run(task)
        (shards / "link").unlink()


def dangle(path: Path) -> None:
    path.symlink_to("nowhere")


@pytest.mark.parametrize(
    ("broken", "make"),
    [
        *(
            (broken, make)
            for broken in ("job", "template", "model")
            for make in (os.mkfifo, dangle)
        ),
        ("model's config", os.mkfifo),
    ],
)
def test_a_pipe_or_a_dangling_link_in_the_place_of_a_file_of_the_job_is_wrong_configuration(
    shards: Path, tmp_path: Path, command: Any, broken: str, make: Callable[[Path], object]
) -> None:
    path = tmp_path / "odd"
    if broken == "model's config":
        (tmp_path / "model").mkdir()
        path = tmp_path / "model/config.json"
    make(path)
    sections: dict[str, Any] = {
        "job": {},
        "template": {"prompt": str(path)},
        "model": {"engine": {"kind": "vllm", "model": str(path)}},
        "model's config": {"engine": {"kind": "vllm", "model": str(path.parent)}},
    }
    file = job_file(tmp_path / "job.yaml", job(shards, tmp_path / "store", **sections[broken]))

    done = command("plan", path if broken == "job" else file)

    assert done.returncode == 2, done.stderr
    assert str(path) in done.stderr


def test_doctor_names_what_cannot_be_read(shards: Path, tmp_path: Path) -> None:
    os.mkfifo(shards / "pipe.jsonl")
    task = job(shards, tmp_path / "store")

    said = _input(task)

    assert said.startswith("3 shards, ")
    assert (
        f"1 unreadable, to be rejected; the first: file://{shards}/pipe.jsonl: a named pipe" in said
    )


def test_plan_counts_what_cannot_be_read(shards: Path, tmp_path: Path, command: Any) -> None:
    os.mkfifo(shards / "pipe.jsonl")
    file = job_file(tmp_path / "job.yaml", job(shards, tmp_path / "store"))

    done = command("plan", file, "--json")

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rejects"] == {"unreadable": 1}
