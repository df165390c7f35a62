"""Folders and files of local disks. What is no regular file is never opened: a pipe would wait."""

import errno
import os
import stat
from pathlib import PurePath
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from pipeline.core.storage_faults import Unreadable, explained
from pipeline.core.tree import Entry, Level

_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}


class Disk(LocalFileSystem):  # type: ignore[misc]  # fsspec has no types
    """A local disk on which only regular files are opened for reading."""

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        if "r" in mode:
            check_regular(path)
        return super()._open(path, mode, **options)


def read_text(path: str | PurePath) -> str:
    """A file's text in UTF-8, without a byte order mark; raises `OSError`, `UnicodeDecodeError`."""
    with open(path, encoding="utf-8-sig", opener=_open_regular) as file:
        return file.read()


def read_bytes(path: str | PurePath) -> bytes:
    """All of a file; raises `OSError`."""
    with open(path, "rb", opener=_open_regular) as file:
        return file.read()


def _open_regular(path: str, flags: int) -> int:
    """An opener for `open` that never waits for the writer of a pipe."""
    check_regular(path)
    return os.open(path, flags | os.O_NONBLOCK)


def check_regular(path: str | PurePath) -> os.stat_result:
    """The status of a file or folder; raises `Unreadable` for anything else.

    Raises `FileNotFoundError` if there is nothing, and no link on the way leads nowhere.
    """
    try:
        status = os.stat(path)
    except OSError as error:
        raise _unless_dangling(path, error) from None
    if kind := _kind(status):
        raise Unreadable(kind)
    return status


def disk_level(folder: str) -> Level:
    """What is in a folder of a disk."""
    level = Level()
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                _add(entry, level)
    except OSError as error:
        level.error = _unless_dangling(folder, error)
    return level


def _add(entry: "os.DirEntry[str]", level: Level) -> None:
    try:
        if entry.is_dir(follow_symlinks=False):
            level.folders.append(entry.path)
        elif entry.is_symlink():
            _add_link(entry.path, level)
        else:
            _add_file(entry.path, entry.stat(follow_symlinks=False), level)
    except FileNotFoundError:
        return  # deleted since it was listed
    except OSError as error:
        level.faults[entry.path] = explained(error)


def _add_link(link: str, level: Level) -> None:
    try:
        target = os.stat(link)
    except OSError as error:
        level.faults[link] = explained(_unless_dangling(link, error))
        return
    if stat.S_ISDIR(target.st_mode):
        level.links[link] = os.path.realpath(link)
    else:
        _add_file(link, target, level)


def _add_file(path: str, status: os.stat_result, level: Level) -> None:
    if kind := _kind(status):
        level.irregular[path] = kind
    else:
        level.files[path] = Entry(status.st_size, status.st_mtime)


def _kind(status: os.stat_result) -> str | None:
    """In words what is neither a regular file nor a folder."""
    if stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode):
        return None
    return f"{_KINDS.get(stat.S_IFMT(status.st_mode), 'something of another kind')}, not a file"


def _unless_dangling(path: str | PurePath, error: OSError) -> OSError:
    """An error of a path, or that a link there or above it leads nowhere, or to itself."""
    if error.errno in (errno.ENOENT, errno.ELOOP):
        for above in (PurePath(path), *PurePath(path).parents):
            if os.path.islink(above) and not os.path.exists(above):
                return Unreadable(f"{above} is a link that leads nowhere, to {os.readlink(above)}")
    return error
