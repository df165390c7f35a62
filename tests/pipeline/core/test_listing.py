"""Listing a folder: all that is below it, once each, and what cannot be listed by name."""

import errno
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fsspec import AbstractFileSystem
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.disk import Disk, read_text
from pipeline.core.errors import StorageError
from pipeline.core.filesystem import Location, Storage
from pipeline.core.listing import list_tree
from pipeline.core.storage_faults import Unreadable
from pipeline.core.tree import Scope, Tree

FAILURES = (errno.EACCES, errno.EPERM, errno.ESTALE, errno.EIO, errno.ENOTCONN, errno.ETIMEDOUT)
FOLDERS = ("", "a", "a/b", "a/b/c", "d")
NOBODY = 65534


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A file in each of five folders, four of them below the first."""
    for name in FOLDERS:
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "f.jsonl").write_text("x")
    return tmp_path


def listed(folder: Path | str, scope: Scope | None = None) -> Tree:
    return list_tree(Disk(), str(folder), scope or Scope())


def failing(path: Path, error: int, late: bool) -> Callable[[Any], Any]:
    """`os.scandir` that fails for one folder, at once or after its last entry."""
    real = os.scandir

    @contextmanager
    def broken(where: Any) -> Iterator[Any]:
        with real(where) as entries:
            yield (entry for entry in [*entries, None] if entry or fail())

    def fail() -> bool:
        raise OSError(error, os.strerror(error), str(path))

    def scandir(where: Any) -> Any:
        if str(where) != str(path):
            return real(where)
        return broken(where) if late else fail()

    return scandir


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("name", FOLDERS[1:])
@pytest.mark.parametrize("error", FAILURES)
def test_a_folder_that_cannot_be_listed_is_named_and_all_the_rest_is_listed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, error: int, name: str, late: bool
) -> None:
    monkeypatch.setattr(os, "scandir", failing(folder / name, error, late))

    tree = listed(folder)

    assert list(tree.faults) == [str(folder / name)]
    assert os.strerror(error) in tree.faults[str(folder / name)]
    below = [f for f in FOLDERS if f == name or f.startswith(f"{name}/")]
    lost = [] if late else below
    assert set(tree.files) == {str(folder / f / "f.jsonl") for f in FOLDERS if f not in lost}


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("error", FAILURES)
def test_a_root_that_cannot_be_listed_is_an_error_of_the_storage_that_names_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, error: int, late: bool
) -> None:
    monkeypatch.setattr(os, "scandir", failing(folder, error, late))

    with pytest.raises(StorageError, match=os.strerror(error)) as caught:
        Storage().at(str(folder)).tree()

    assert str(folder) in str(caught.value)


@pytest.mark.parametrize("ask", [Location.files, Location.file_times, Location.entries])
@pytest.mark.parametrize("name", FOLDERS)
def test_what_a_store_asks_for_is_all_of_a_folder_or_an_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, ask: Callable[[Location], Any]
) -> None:
    assert len(ask(Storage().at(str(folder)))) == len(FOLDERS)
    monkeypatch.setattr(os, "scandir", failing(folder / name, errno.EIO, late=False))

    with pytest.raises(StorageError, match="see to") as caught:
        ask(Storage().at(str(folder)))

    assert str(folder / name) in str(caught.value)


def test_a_folder_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert Storage().at(str(tmp_path / "none/deep")).files() == {}


@pytest.mark.parametrize("below", ["", "/answers", "/answers/deep"])
def test_a_folder_whose_link_leads_nowhere_is_not_empty(tmp_path: Path, below: str) -> None:
    (tmp_path / "store").symlink_to(tmp_path / "unmounted")

    with pytest.raises(StorageError, match=r"store is a link that leads nowhere, to .*unmounted"):
        Storage().at(f"{tmp_path}/store{below}").files()


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without the rights of root, if this process has them."""
    if os.geteuid():
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_folder_that_permissions_protect_is_named_with_the_user_who_needs_the_right() -> None:
    root = Path(tempfile.mkdtemp(dir="/tmp"))
    root.chmod(0o755)
    for name in ("closed", "open"):
        (root / name).mkdir()
        (root / name / "f.jsonl").write_text("x")
    (root / "closed").chmod(0)
    try:
        with as_nobody():
            tree, uid = listed(root), os.geteuid()
            with pytest.raises(StorageError, match=r"Permission denied.*give this user"):
                Storage().at(str(root / "closed")).files()
            with pytest.raises(StorageError, match="Permission denied"):
                Storage().at(str(root / "closed/below")).found()
    finally:
        shutil.rmtree(root)

    assert list(tree.files) == [str(root / "open/f.jsonl")]
    assert f"give this user (uid {uid}) the right to it" in tree.faults[str(root / "closed")]


# Links.


def test_a_folder_is_read_under_its_own_name_wherever_links_lead(folder: Path) -> None:
    (folder / "0-first").symlink_to("d")
    (folder / "a/b/up").symlink_to("../..")
    (folder / "d/self").symlink_to(".")
    (folder / "d/root").symlink_to(folder)

    tree = listed(folder)

    assert set(tree.files) == {str(folder / f / "f.jsonl") for f in FOLDERS}
    assert tree.faults == {}


def test_a_linked_folder_outside_is_read_once_under_its_first_link(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "deep").mkdir()
    (outside / "deep/g.jsonl").write_text("x")
    (outside / "back").symlink_to(folder)
    for name in ("x", "y"):
        (folder / name).symlink_to(outside)

    tree = listed(folder)

    assert [p for p in tree.files if p.endswith("g.jsonl")] == [str(folder / "x/deep/g.jsonl")]
    assert str(outside) in tree.linked


def test_a_hidden_link_is_not_followed(folder: Path) -> None:
    (folder / "_releases").mkdir()
    (folder / "_releases/g.jsonl").write_text("x")
    (folder / ".root").symlink_to("/")
    (folder / "current").symlink_to("_releases")

    tree = listed(folder, Scope(hidden=(".", "_")))

    assert str(folder / "current/g.jsonl") in tree.files
    assert len(tree.files) == len(FOLDERS) + 1
    assert tree.hidden == 2


names = st.sampled_from(["a", "b", "c"])
paths = st.lists(names, min_size=1, max_size=3).map("/".join)
trees = st.tuples(
    st.lists(paths, max_size=8),
    st.lists(st.tuples(paths, st.one_of(paths, st.just(""))), max_size=6),
)


def made(root: Path, files: list[str], links: list[tuple[str, str]]) -> None:
    """Files and relative links, where their folders can be made."""
    for path in files:
        (root / path).mkdir(parents=True, exist_ok=True)
        (root / path / "f").write_text("x")
    for path, target in links:
        link = root / f"{path}-link"
        if link.parent.is_dir() and not os.path.lexists(link):
            link.symlink_to(os.path.relpath(root / target, link.parent))


@settings(max_examples=200, deadline=None)
@given(trees)
def test_every_file_that_any_links_lead_to_is_listed_exactly_once(
    tree: tuple[list[str], list[tuple[str, str]]],
) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(os.path.realpath(name))
        made(root, *tree)
        found = listed(root)
        dangling = {str(p) for p in root.rglob("*-link") if not p.exists()}

        assert sorted(map(os.path.realpath, found.files)) == sorted(map(str, root.rglob("f")))
        assert set(found.faults) >= dangling
        assert all(p.endswith("-link") for p in found.faults)


# What is no regular file.


def irregular(root: Path) -> dict[str, str]:
    """One thing of each kind that nobody may open, in the working directory, by its name."""
    os.mkfifo(root / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")  # relative to the working directory: such a path must be short
    (root / "device").symlink_to("/dev/zero")
    (root / "dangling").symlink_to("gone")
    (root / "circle").symlink_to("circle")
    return {
        "pipe": "a named pipe, not a file",
        "socket": "a socket, not a file",
        "device": "a character device, not a file",
        "dangling": "a link that leads nowhere, to gone",
        "circle": "a link that leads nowhere, to circle",
    }


def test_what_is_no_regular_file_is_named_and_not_opened(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    kinds = irregular(folder)

    tree = listed(folder)

    assert {Path(p).name for p in tree.faults} == set(kinds)
    for name, kind in kinds.items():
        assert kind in tree.faults[str(folder / name)]
    assert len(tree.files) == len(FOLDERS)


def test_what_is_no_regular_file_cannot_be_opened_on_a_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, kind in irregular(tmp_path).items():
        with pytest.raises(Unreadable, match=kind):
            Disk().open(str(tmp_path / name))
        with pytest.raises(Unreadable, match=kind):
            read_text(tmp_path / name)


def test_a_text_file_is_read_without_a_byte_order_mark_and_with_plain_line_ends(
    tmp_path: Path,
) -> None:
    (tmp_path / "a.md").write_bytes("\ufeffname: ü\r\nb\r".encode())

    assert read_text(tmp_path / "a.md") == "name: ü\nb\n"


# Globs.


@settings(max_examples=150, deadline=None)
@given(
    st.lists(paths, max_size=8),
    st.lists(st.sampled_from(["a", "b", "*", "?", "[ab]", "a*", "**"]), min_size=1, max_size=4),
)
def test_a_glob_lists_the_files_that_fsspec_finds(files: list[str], pattern: list[str]) -> None:
    glob = "/".join(pattern)
    with tempfile.TemporaryDirectory() as root:
        for path in files:
            Path(root, path).mkdir(parents=True, exist_ok=True)
            Path(root, path, "a").mkdir(exist_ok=True)
            Path(root, path, "ab").write_text("x")
        expected = Disk().glob(f"{root}/{glob}", detail=True)

        found = listed(root, Scope.of_glob(root, glob))

        assert list(found.files) == [p for p, i in expected.items() if i["type"] == "file"]


def test_a_glob_reads_linked_files_and_names_only_what_it_could_mean(folder: Path) -> None:
    (folder / "link.jsonl").symlink_to("a/f.jsonl")
    os.mkfifo(folder / "pipe.jsonl")
    os.mkfifo(folder / "pipe.txt")
    (folder / "gone").symlink_to("nowhere")

    flat = listed(folder, Scope.of_glob(str(folder), "*.jsonl"))
    deep = listed(folder, Scope.of_glob(str(folder), "*/*.jsonl"))

    assert [Path(p).name for p in flat.files] == ["f.jsonl", "link.jsonl"]
    assert [Path(p).name for p in flat.faults] == ["pipe.jsonl"]
    assert [p.removeprefix(f"{folder}/") for p in deep.files] == ["a/f.jsonl", "d/f.jsonl"]
    assert [Path(p).name for p in deep.faults] == ["gone"]  # it could be a folder


# File systems that are listed folder by folder.


class Folders(AbstractFileSystem):
    """A remote disk, one `ls` a folder, some of which fail."""

    protocol = "folders"
    cachable = False

    def __init__(self, files: dict[str, int], failing: dict[str, Exception]) -> None:
        super().__init__()
        self._files, self._failing = files, failing

    def ls(self, path: str, detail: bool = True, **options: Any) -> list[dict[str, Any]]:
        if path in self._failing:
            raise self._failing[path]
        inside = [p for p in self._files if p.startswith(f"{path}/")]
        names = {p[len(path) + 1 :].split("/")[0] for p in inside}
        if not names:
            raise FileNotFoundError(path)
        return [self._info(f"{path}/{name}") for name in sorted(names)]

    def _info(self, path: str) -> dict[str, Any]:
        size = self._files.get(path)
        kind = "directory" if size is None else "file"
        return {"name": path, "size": size, "type": kind}


REMOTE = {f"r/{name}/f.jsonl".replace("//", "/"): 1 for name in FOLDERS}


@pytest.mark.parametrize("name", FOLDERS[1:])
@pytest.mark.parametrize("error", [PermissionError("403"), FileNotFoundError("404")])
def test_a_remote_folder_that_is_forbidden_or_gone_is_named(error: Exception, name: str) -> None:
    tree = list_tree(Folders(REMOTE, {f"r/{name}": error}), "r")

    assert list(tree.faults) == [f"r/{name}"]
    assert set(tree.files) == {p for p in REMOTE if not p.startswith(f"r/{name}/")}


@pytest.mark.parametrize("name", FOLDERS)
def test_a_remote_file_system_that_fails_otherwise_ends_the_listing(name: str) -> None:
    path = f"r/{name}".rstrip("/")
    with pytest.raises(ConnectionError):
        list_tree(Folders(REMOTE, {path: ConnectionError("reset")}), "r")


def test_a_remote_folder_of_the_store_that_is_forbidden_is_an_error() -> None:
    store = Location(Folders(REMOTE, {"r/a": PermissionError("403")}), "r")

    with pytest.raises(StorageError, match="r/a: the folder cannot be listed"):
        store.files()
