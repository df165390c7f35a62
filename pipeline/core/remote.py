"""Folders and files of remote file systems, object stores first of all."""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from inspect import signature
from typing import Any, Protocol, runtime_checkable

from fsspec import AbstractFileSystem
from fsspec.asyn import AsyncFileSystem

from pipeline.core.tree import Entry, Level, Scope, Tree, is_folder_marker


@runtime_checkable
class OwnListing(Protocol):
    """A file system of ours whose listings are never cached and fail if the store's does."""

    def listed(self, folder: str, stem: str, deep: bool) -> list[dict[str, Any]]:
        """What is in a folder under names that begin with `stem`; if `deep`, all keys below it.

        Raises `MissingBucket` and `Forbidden`; a folder that is not there is empty.
        """


def lists_all_keys(fs: AbstractFileSystem) -> bool:
    """Whether a store lists all keys below a prefix by itself, and not folder by folder."""
    if isinstance(fs, OwnListing):
        return True
    if isinstance(fs, AsyncFileSystem):
        return type(fs)._find is not AsyncFileSystem._find
    return type(fs).find is not AbstractFileSystem.find


def all_keys(fs: AbstractFileSystem, root: str, scope: Scope) -> Tree:
    """The keys below a prefix that a scope wants, by one request for each thousand of them."""
    found = _below(fs, root, scope.stem)
    keys = sorted(key for key, info in found.items() if info["type"] != "directory")
    entries = ((key, _entry(found[key])) for key in keys)
    wanted = {k: e for k, e in entries if scope.takes(k, 0) and not _is_folder(k, e, keys)}
    hidden = {k: top for k in wanted if (top := _hidden_top(k, root, scope.hidden))}
    visible = {k: e for k, e in wanted.items() if k not in hidden} if hidden else wanted
    files = {key: entry for key, entry in visible.items() if not key.endswith("/")}
    faults = {key: "its name ends in /; rename it" for key in visible if key not in files}
    return Tree(files, faults, len({*hidden.values()}))


def remote_level(fs: AbstractFileSystem, folder: str, stem: str) -> Level:
    """What is in a folder, or of it what begins with `stem`.

    Only what a folder itself can be the cause of is its fault: other errors are raised.
    """
    try:
        infos = list(_infos(fs, folder, stem))
    except (FileNotFoundError, PermissionError) as error:
        return Level(error=error)
    folders = {i["name"].rstrip("/") for i in infos if i["type"] == "directory"} - {folder}
    entries = {i["name"]: _entry(i) for i in infos if i["type"] != "directory"}
    files = {
        path: entry
        for path, entry in entries.items()
        if path.rstrip("/") != folder and (entry.size or path not in folders)
    }
    return Level(files, sorted(folders))


def _below(fs: AbstractFileSystem, root: str, stem: str) -> Mapping[str, dict[str, Any]]:
    if isinstance(fs, OwnListing):
        return {info["name"]: info for info in fs.listed(root, stem, deep=True)}
    found: Mapping[str, dict[str, Any]]
    found = fs.find(root, detail=True, **({"prefix": stem} if stem and _by_prefix(fs) else {}))
    return found


def _by_prefix(fs: AbstractFileSystem) -> bool:
    """Whether a store finds the keys that begin in some way by itself; the hub does not."""
    find = getattr(type(fs), "_find", type(fs).find)
    return "prefix" in signature(find).parameters


def _infos(fs: AbstractFileSystem, folder: str, stem: str) -> Iterator[dict[str, Any]]:
    if isinstance(fs, OwnListing):
        yield from fs.listed(folder, stem, deep=False)
    elif stem and _by_prefix(fs):  # the store itself finds the names that begin so
        found = fs.find(folder, maxdepth=1, withdirs=True, detail=True, prefix=stem)
        yield from found.values()
    else:
        yield from fs.ls(folder, detail=True)


def _is_folder(key: str, entry: Entry, keys: Sequence[str]) -> bool:
    """Whether an object stands for a folder: it is empty, and there are keys below it."""
    if entry.size:
        return False
    after = bisect_left(keys, below := f"{key}/")
    return is_folder_marker(key, entry) or (after < len(keys) and keys[after].startswith(below))


def _hidden_top(key: str, root: str, hidden: tuple[str, ...]) -> str | None:
    """The uppermost name on the way to a key that hides it."""
    names = key.removeprefix(root).split("/")
    for at, name in enumerate(names):
        if name.startswith(hidden):
            return "/".join(names[: at + 1])
    return None


def _entry(info: Mapping[str, Any]) -> Entry:
    time = info.get("mtime") or info.get("LastModified") or 0
    mark = info.get("ETag") or info.get("etag") or info.get("blob_id")
    modified = float(time.timestamp() if isinstance(time, datetime) else time)
    return Entry(int(info["size"] or 0), modified, mark)
