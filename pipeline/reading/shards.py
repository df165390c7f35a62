"""Lists the shards of an input, and streams the records and rejects of one shard.

A shard of any size is read in pieces of `CHUNK` bytes and decompressed on the way. All of a damaged
shard up to the damage is read, and the rest becomes one reject.
"""

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from operator import attrgetter
from pathlib import PurePosixPath
from typing import Literal, TypeAlias

from fsspec import AbstractFileSystem

from pipeline.config.schema import Input
from pipeline.core.errors import ConfigError, StorageError
from pipeline.core.filesystem import GuardedStream, Location, Storage
from pipeline.core.records import PAYLOAD_BYTES, Fault, Place, Record, Reject
from pipeline.core.storage_faults import Unreadable, is_missing_bucket
from pipeline.core.tree import WILDCARD, Scope, Tree
from pipeline.reading.columns import Columns
from pipeline.reading.csv_file import csv_items
from pipeline.reading.decompression import CHUNK, decoded
from pipeline.reading.expansion_limit import ExpansionLimit
from pipeline.reading.folders import folder_columns, folders_above
from pipeline.reading.json_array import is_one_document, json_items
from pipeline.reading.jsonl import jsonl_items
from pipeline.reading.openai_batch import any_record, batch_record
from pipeline.reading.parquet import parquet_items
from pipeline.reading.row_reader import RowReader
from pipeline.reading.text import record_id_of, text_record

HIDDEN = (".", "_")
"""How the names of files and folders begin that are not read."""

Kind: TypeAlias = Literal["text", "jsonl", "json", "csv", "tsv", "openai-batch", "parquet"]

_KINDS: dict[str, Kind] = {
    ".txt": "text",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".pq": "parquet",
}
_COMPRESSED = {".gz", ".zst", ".zstd"}
_PARQUET = b"PAR1"


@dataclass(frozen=True, slots=True)
class Shard:
    """One input file; `size` is in bytes as stored.

    `fault` says why it cannot be read, or a folder in place of a file cannot be listed. `folders`
    are the columns that its folders give to its records.
    """

    path: str
    uri: str
    size: int
    fault: str | None = None
    folders: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Listing:
    """The shards of an input in order of path, and how many hidden files and folders were left out.

    `linked` has the real paths of the folders that links in the input lead to.
    """

    shards: list[Shard]
    hidden: int
    linked: tuple[str, ...] = ()


def list_shards(uri: str, storage: Storage) -> Listing:
    """The files at `uri`, which names a file, a folder or a glob.

    Files and folders whose names begin with `.` or `_` are hidden, as in Hadoop and Spark: they are
    counted but not read. Links to folders are followed. What cannot be listed or read is a shard
    with a fault. Raises `ConfigError` if there is no file, and `StorageError` if the folder itself
    cannot be listed.
    """
    root = storage.at(uri)
    tree = _tree(root, uri)
    if not (tree.files or tree.faults):
        if tree.hidden:
            raise _no_input(f"{uri}: only hidden files (. or _ first) there; rename them")
        raise _no_input(f"{uri}: no file there; give a file, a folder or a glob")
    above = folders_above(root.path, uri)
    shards = [
        Shard(p, _printable(root.fs, p), entry.size, folders=folder_columns(p, above))
        for p, entry in tree.files.items()
    ]
    shards += [Shard(p, _printable(root.fs, p), 0, why) for p, why in tree.faults.items()]
    return Listing(sorted(shards, key=attrgetter("path")), tree.hidden, tree.linked)


def _tree(root: Location, uri: str) -> Tree:
    """Raises `ConfigError` if what the URI names is not there, or is nothing that can be read."""
    try:
        return _found_tree(root, uri)
    except StorageError as error:
        wrong = isinstance(error.__cause__, (Unreadable, NotADirectoryError))
        if wrong or is_missing_bucket(error):
            raise _no_input(str(error)) from error
        raise


def _found_tree(root: Location, uri: str) -> Tree:
    """What is at a path; one that exists is not read as a glob, and a final / means a folder."""
    wildcard = WILDCARD.search(root.path)
    found = root.found() if wildcard or not uri.endswith("/") else None
    if found and not found.is_folder:
        return Tree({root.path: found.entry})
    if found or not wildcard:
        return root.tree(Scope(hidden=HIDDEN))
    folder, slash, _ = root.path[: wildcard.start()].rpartition("/")
    if not slash:
        raise _no_input(f"{uri}: name the bucket without wildcards")
    try:
        scope = Scope.of_glob(folder, root.path[len(folder) + 1 :], HIDDEN)
    except ValueError as error:
        raise _no_input(f"{uri}: {error}") from error
    return Location(root.fs, folder or "/").tree(scope)


def _no_input(why: str) -> ConfigError:
    return ConfigError(f"input.uri: {why}")


def _printable(fs: AbstractFileSystem, path: str) -> str:
    """A path's URI, with bytes that are not UTF-8 escaped."""
    uri = Location(fs, path).uri
    return uri.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def read_shard(shard: Shard, stored: GuardedStream, spec: Input) -> Iterator[Record | Reject]:
    """The records and rejects of a shard, in order: at least one."""
    stream: io.BufferedReader = io.BufferedReader(stored, CHUNK)
    items = _items(shard, stream, spec)
    first = next(items, None)
    if first is None:
        yield whole_file(shard, Fault("empty_file", "the file has no record"))
    else:
        yield first
        yield from items


def _items(shard: Shard, stream: io.BufferedReader, spec: Input) -> Iterator[Record | Reject]:
    head = stream.peek(4)[:4]
    if not head:
        return
    expansion, limit = ExpansionLimit(spec.max_expansion), spec.max_record_bytes
    kind = _kind_of(shard, head) if spec.format == "auto" else spec.format
    rows = RowReader(
        Columns(spec.fields), shard.folders, batch_record if kind == "openai-batch" else any_record
    )
    if kind is None:
        fault = Fault(
            "unknown_kind", f"no reader for {PurePosixPath(shard.uri).name}; set input.format"
        )
        yield whole_file(shard, fault, stream.read(PAYLOAD_BYTES))
    elif kind == "parquet":
        yield from parquet_items(shard.uri, stream, limit, expansion, rows)
    elif kind == "text":
        yield from _text_items(shard, decoded(stream, expansion), spec)
    elif kind in ("csv", "tsv"):
        delimiter = "\t" if kind == "tsv" else None
        yield from csv_items(shard.uri, decoded(stream, expansion), limit, rows, delimiter)
    elif kind == "json":
        yield from _json_items(shard, decoded(stream, expansion), spec, rows)
    else:
        yield from jsonl_items(shard.uri, decoded(stream, expansion), limit, rows)


def _json_items(
    shard: Shard, chunks: Iterator[bytes], spec: Input, rows: RowReader
) -> Iterator[Record | Reject]:
    """One document; or, unless the job says that it is one, a document on each line."""
    try:
        first = next(chunks, b"")
    except Fault as fault:
        yield whole_file(shard, fault)
        return
    is_one = spec.format == "json" or is_one_document(first)
    read = json_items if is_one else jsonl_items
    yield from read(shard.uri, chain([first], chunks), spec.max_record_bytes, rows)


def _text_items(shard: Shard, chunks: Iterator[bytes], spec: Input) -> Iterator[Record | Reject]:
    data = b""
    place = Place(shard.uri, 0)
    try:
        for chunk in chunks:
            data += chunk
            if len(data) > spec.max_record_bytes:
                raise Fault(
                    "too_large",
                    f"longer than {spec.max_record_bytes} bytes (input.max_record_bytes)",
                )
        if data:
            record = text_record(data, place, spec.text)
            yield replace(record, extra={**shard.folders, **record.extra})
    except Fault as fault:
        yield fault.at(place, data, record_id_of(shard.uri))


def _kind_of(shard: Shard, head: bytes) -> Kind | None:
    """A shard's kind: magic bytes take precedence over the extension (less `.gz` and the like)."""
    if head == _PARQUET:
        return "parquet"
    name = PurePosixPath(shard.uri)
    if name.suffix.lower() in _COMPRESSED:
        name = name.with_suffix("")
    return _KINDS.get(name.suffix.lower())


def whole_file(shard: Shard, fault: Fault, payload: bytes = b"") -> Reject:
    """The reject for a shard from which nothing can be read."""
    return fault.at(Place(shard.uri, 0), payload, record_id_of(shard.uri))


def unread(shard: Shard, why: str) -> Reject:
    """The reject for what cannot be read or listed; its id is the URI, for it may be a folder."""
    return Fault("unreadable", why).at(Place(shard.uri, 0), b"", shard.uri)
