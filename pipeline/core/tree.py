"""What a listing looks for, and what it finds."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Self

from fsspec.utils import glob_translate

WILDCARD = re.compile(r"[*?[]")

_FOLDER_MARKERS = ("/", "_$folder$")
"""Empty objects with these endings stand for folders: consoles and Hadoop write them."""


class Entry(NamedTuple):
    """A file as a listing has it; `etag` is an object store's mark of this version of it."""

    size: int  # in bytes
    modified: float = 0.0  # in seconds since 1970, 0 if unknown
    etag: str | None = None


@dataclass(slots=True)
class Level:
    """What is in one folder, by path; `links` are those to folders, with the real paths of these.

    `irregular` says what else an entry is, and `faults` why that cannot be known; `error` is why
    the listing itself ended early.
    """

    files: dict[str, Entry] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)
    links: dict[str, str] = field(default_factory=dict)
    irregular: dict[str, str] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    error: Exception | None = None


@dataclass(slots=True)
class Tree:
    """What is below a folder, by path: files, and why something cannot be listed or read.

    `hidden` counts the files and folders left out for their names; `linked` has the real paths of
    folders that links lead to.
    """

    files: Mapping[str, Entry] = field(default_factory=dict)
    faults: Mapping[str, str] = field(default_factory=dict)
    hidden: int = 0
    linked: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Scope:
    """Which files below a folder are wanted: all, or those that a glob matches.

    `levels` match names, level by level; `whole` matches paths, if the glob has a `**`. Files and
    folders whose names begin as `hidden` are left out.
    """

    levels: tuple[re.Pattern[str], ...] = ()
    whole: re.Pattern[str] | None = None
    stem: str = ""  # what every name of the first level begins with
    hidden: tuple[str, ...] = ()

    @classmethod
    def of_glob(cls, root: str, pattern: str, hidden: tuple[str, ...] = ()) -> Self:
        """Of the files below `root` those that match; raises `ValueError` for a wrong `**`."""
        names = pattern.split("/")
        fixed = next((at for at, name in enumerate(names) if "**" in name), len(names))
        levels = tuple(re.compile(glob_translate(name)) for name in names[:fixed])
        path = re.compile(glob_translate(f"{root.rstrip('/')}/{pattern}"))
        stem = WILDCARD.split(names[0], maxsplit=1)[0]
        return cls(levels, path if fixed < len(names) else None, stem, hidden)

    @property
    def depth(self) -> int | None:
        """How many levels below the root the files are; None if at any."""
        return None if self.whole or not self.levels else len(self.levels)

    def enters(self, path: str, level: int) -> bool:
        """Whether the folder at a path may have such files below it."""
        if self.depth and level + 1 >= self.depth:
            return False
        return level >= len(self.levels) or bool(self.levels[level].match(name_of(path)))

    def takes(self, path: str, level: int) -> bool:
        if self.depth:
            return level + 1 == self.depth and bool(self.levels[level].match(name_of(path)))
        return self.whole is None or bool(self.whole.match(path))

    def hides(self, path: str) -> bool:
        return name_of(path).startswith(self.hidden)


EVERYTHING = Scope()


def name_of(path: str) -> str:
    return path[path.rfind("/") + 1 :]


def is_folder_marker(path: str, entry: Entry) -> bool:
    return not entry.size and path.endswith(_FOLDER_MARKERS)
