"""Lists what is below a folder; a folder that cannot be listed is a fault, never an empty one.

fsspec's own `find`, `walk` and `glob` leave such folders out, unless a store lists all keys below
a prefix by itself.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from pipeline.core.disk import disk_level
from pipeline.core.remote import all_keys, lists_all_keys, remote_level
from pipeline.core.storage_faults import explained
from pipeline.core.tree import (
    EVERYTHING,
    Entry,
    Level,
    Scope,
    Tree,
    is_folder_marker,
    name_of,
)


def list_tree(fs: AbstractFileSystem, root: str, scope: Scope = EVERYTHING) -> Tree:
    """The files below a folder that a scope wants, in order of path.

    Raises the file system's error if the root itself is missing or cannot be listed.
    """
    if isinstance(fs, LocalFileSystem):
        return _Walk(disk_level, scope).from_root(root, os.path.realpath(root))
    if lists_all_keys(fs) and not scope.depth:
        return all_keys(fs, root, scope)

    def level_of(folder: str) -> Level:
        return remote_level(fs, folder, scope.stem if folder == root else "")

    return _Walk(level_of, scope).from_root(root, root)


class _Folder(NamedTuple):
    path: str
    real: str  # its path without links
    level: int


@dataclass(slots=True)
class _Walk:
    """Goes from folder to folder, and to each of them once, wherever links lead."""

    level_of: Callable[[str], Level]
    scope: Scope
    files: dict[str, Entry] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    hidden: int = 0

    def from_root(self, root: str, real: str) -> Tree:
        """Links come last, so that a folder in the tree is read under its own name."""
        folders, links = [_Folder(root, real, 0)], deque[_Folder]()
        linked, seen = dict[str, None](), set[tuple[str, int]]()
        while folders or links:
            folder = folders.pop() if folders else links.popleft()
            mark = (folder.real, folder.level if self.scope.depth else 0)
            if mark in seen:
                continue
            seen.add(mark)
            level = self._visited(folder)
            own = ((path, os.path.join(folder.real, name_of(path))) for path in level.folders)
            folders.extend(self._entered(own, folder.level))
            links.extend(led := sorted(self._entered(level.links.items(), folder.level)))
            linked.update(dict.fromkeys(link.real for link in led))
        files, faults = dict(sorted(self.files.items())), dict(sorted(self.faults.items()))
        return Tree(files, faults, self.hidden, tuple(linked))

    def _visited(self, folder: _Folder) -> Level:
        level = self.level_of(folder.path)
        if level.error and folder.level == 0:
            raise level.error
        if level.error:
            self.faults[folder.path] = f"the folder cannot be listed: {explained(level.error)}"
        self._take_files(level, folder.level)
        self._take_faults(level, folder.level)
        return level

    def _take_files(self, level: Level, depth: int) -> None:
        for path, entry in level.files.items():
            if is_folder_marker(path, entry) or not self.scope.takes(path, depth):
                continue
            if self.scope.hides(path):
                self.hidden += 1
            else:
                self.files[path] = entry

    def _take_faults(self, level: Level, depth: int) -> None:
        for path, why in level.irregular.items():
            if self.scope.takes(path, depth) and not self.scope.hides(path):
                self.faults[path] = why
        for path, why in level.faults.items():
            is_wanted = self.scope.takes(path, depth) or self.scope.enters(path, depth)
            if is_wanted and not self.scope.hides(path):
                self.faults[path] = why

    def _entered(self, folders: Iterable[tuple[str, str]], depth: int) -> Iterator[_Folder]:
        """Of the folders of a level, as path and real path, those to go to."""
        for path, real in folders:
            if not self.scope.enters(path, depth):
                continue
            if self.scope.hides(path):
                self.hidden += 1
            else:
                yield _Folder(path, real, depth + 1)
