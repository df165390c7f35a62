"""Files on local disks and in object stores, through fsspec.

Nothing here retries: the store's client has done so before an error gets this far.
"""

import io
import os
import shutil
import stat
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import fsspec
from fsspec.implementations.local import LocalFileSystem
from fsspec.utils import get_protocol

from pipeline.core.disk import Disk, check_regular
from pipeline.core.errors import ConfigError, OvernightError, StorageError
from pipeline.core.listing import list_tree
from pipeline.core.storage_faults import explained, is_missing_bucket
from pipeline.core.storage_options import check_writable, file_system_class, options_for
from pipeline.core.tree import EVERYTHING, Entry, Scope, Tree


@dataclass(frozen=True, slots=True)
class Storage:
    """The job file's `storage` section: options by scheme, or flat ones for `s3://`."""

    options: Mapping[str, Any] = field(default_factory=dict)

    def at(self, uri: str) -> "Location":
        """The file system and path of `uri`; `ConfigError` for an unknown protocol or option."""
        cls = file_system_class(uri)
        if issubclass(cls, LocalFileSystem):
            return Location(Disk(auto_mkdir=True), os.path.abspath(cls._strip_protocol(uri)))
        options = options_for(uri, cls, self.options)
        try:
            return Location(cls(**options), cls._strip_protocol(uri).rstrip("/"))
        except Exception as error:  # botocore's errors have no base class of their own
            raise ConfigError(
                f"storage: {get_protocol(uri)}:// cannot be set up with these options: "
                f"{' '.join(str(error).split())}"
            ) from error

    def target(self, uri: str) -> "Location":
        """The same for a URI that is to be written; `ConfigError` if it can only be read."""
        check_writable(uri)
        return self.at(uri)


@dataclass(frozen=True, slots=True)
class Location:
    """A path in a file system."""

    fs: fsspec.AbstractFileSystem
    path: str

    @property
    def uri(self) -> str:
        return str(self.fs.unstrip_protocol(self.path))

    @property
    def real(self) -> "Location":
        """The same place by a path without links."""
        on_disk = isinstance(self.fs, LocalFileSystem)
        return Location(self.fs, os.path.realpath(self.path)) if on_disk else self

    def join(self, *names: str) -> "Location":
        return Location(self.fs, "/".join([self.path, *names]))

    def found(self) -> "Found | None":
        """What is here; None if nothing is, or an empty object, which may stand for a folder.

        Raises `StorageError` for a pipe, a socket, a device or a dangling link.
        """
        if isinstance(self.fs, LocalFileSystem):
            with storage_errors(self.uri):
                return _on_disk(self.path)
        try:
            info = self.fs.info(self.path)
        except Exception:  # noqa: BLE001  listing the folder tells what is wrong
            return None
        is_folder = info["type"] == "directory"
        size = int(info["size"] or 0)
        return Found(is_folder, Entry(size)) if is_folder or size else None

    def tree(self, scope: Scope = EVERYTHING) -> Tree:
        """What is below this folder; nothing if it is missing. Raises `StorageError` if it cannot
        be listed, or if its bucket is missing."""
        with storage_errors(self.uri):
            try:
                return list_tree(self.fs, self.path, scope)
            except FileNotFoundError as error:
                if is_missing_bucket(error):
                    raise
                return Tree()

    def files(self) -> dict[str, int]:
        """All files below this folder: path to size in bytes. Empty if the folder is missing."""
        return {path: entry.size for path, entry in self.entries().items()}

    def file_times(self) -> dict[str, float]:
        """The same files: path to time of writing in seconds since 1970, 0 if unknown."""
        return {path: entry.modified for path, entry in self.entries().items()}

    def entries(self) -> Mapping[str, Entry]:
        """The same files, by path; none of the three leaves out what cannot be listed or read.

        Raises `StorageError` that names it.
        """
        tree = self.tree()
        for path, why in tree.faults.items():
            raise StorageError(
                f"{Location(self.fs, path).uri}: {why}; nothing in {self.uri} may be left out: "
                "see to it, and start again"
            )
        return tree.files

    def write_whole(self, data: bytes) -> None:
        """Writes the file whole or not at all, and replaces an existing one.

        An object store shows an object once its upload is complete. On a disk the bytes go to a
        hidden file in the same folder, which is then renamed. *Crash window:* a kill before the
        rename leaves the hidden file, `.<name>.<random>.tmp`, which no reader opens.
        """
        with storage_errors(self.uri):
            if isinstance(self.fs, LocalFileSystem):
                self._publish(lambda draft: Path(draft).write_bytes(data), os.replace)
            else:
                self.fs.pipe_file(self.path, data)

    def create(self, data: bytes) -> None:
        """Writes the file whole; raises `FileExistsError` if there is one already.

        Object stores get `If-None-Match: *`, which a bucket's policy may require, or Google's
        `ifGenerationMatch=0`.
        *Crash window:* as for `write_whole`.
        """
        with storage_errors(self.uri, FileExistsError):
            if isinstance(self.fs, LocalFileSystem):
                self._publish(lambda draft: Path(draft).write_bytes(data), os.link)
            else:
                self.fs.pipe_file(self.path, data, mode="create")

    def create_beside(self, data: bytes) -> "Location":
        """Creates and returns this file, or the first of `name-2`, `name-3`, … that is free."""
        stem, _, ending = self.path.rpartition(".")
        for number in count(1):
            location = self if number == 1 else Location(self.fs, f"{stem}-{number}.{ending}")
            try:
                location.create(data)
            except FileExistsError:
                continue
            return location
        raise AssertionError

    def adopt(self, finished: str) -> None:
        """Copies a finished local file of any size here, whole or not at all."""
        with storage_errors(self.uri):
            if isinstance(self.fs, LocalFileSystem):
                self._publish(partial(shutil.copyfile, finished), os.replace)
            else:
                self.fs.put_file(finished, self.path)

    def _publish(self, fill: Callable[[str], object], rename: Callable[[str, str], None]) -> None:
        """Fills a hidden file in the same folder, and gives it this name once it is on the disk."""
        folder, name = os.path.split(self.path)
        os.makedirs(folder, exist_ok=True)
        draft = os.path.join(folder, f".{name}.{uuid.uuid4().hex[:8]}.tmp")
        try:
            fill(draft)
            with open(draft, "rb") as file:
                os.fsync(file.fileno())
            rename(draft, self.path)
        finally:
            if os.path.exists(draft):
                os.unlink(draft)


class Found(NamedTuple):
    """What is at a path."""

    is_folder: bool
    entry: Entry


def _on_disk(path: str) -> Found | None:
    try:
        status = check_regular(path)
    except FileNotFoundError:
        return None
    return Found(stat.S_ISDIR(status.st_mode), Entry(status.st_size, status.st_mtime))


@contextmanager
def storage_errors(uri: str, *expected: type[Exception]) -> Iterator[None]:
    """Turns a file system's errors, but not `expected` ones, into `StorageError` with the URI."""
    try:
        yield
    except OvernightError:
        raise
    except expected:
        raise
    except Exception as error:
        raise StorageError(f"{uri}: {explained(error)}") from error


class GuardedStream(io.RawIOBase):
    """A stored file whose own failures are `StorageError`; other errors are of its content.

    A decoder of damaged bytes and a broken connection both raise `OSError`; only here is it known
    which of the two it was. `consumed` counts the bytes read so far.
    """

    def __init__(self, raw: Any, uri: str) -> None:
        self._raw = raw
        self._uri = uri
        self.consumed = 0
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with storage_errors(self._uri):
            data = self._raw.read(len(buffer))
        buffer[: len(data)] = data
        self._position += len(data)
        self.consumed += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        with storage_errors(self._uri):
            self._position = int(self._raw.seek(offset, whence))
        return self._position

    def tell(self) -> int:
        return self._position

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()
