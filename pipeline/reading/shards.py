"""Lists the shards of an input, and streams the records and rejects of one shard.

A shard of any size is read in pieces of `CHUNK` bytes and decompressed on the way. All of a damaged
shard up to the damage is read, and the rest becomes one reject.
"""

import gzip
import io
import re
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal, TypeAlias

from fsspec import AbstractFileSystem

from pipeline.config.schema import Input
from pipeline.core.errors import ConfigError
from pipeline.core.filesystem import GuardedStream, Location, Storage, storage_errors
from pipeline.core.records import PAYLOAD_BYTES, Fault, Place, Record, Reject
from pipeline.reading.expansion_limit import ExpansionLimit
from pipeline.reading.jsonl import jsonl_items
from pipeline.reading.openai_batch import any_record, batch_record
from pipeline.reading.parquet import parquet_items
from pipeline.reading.text import record_id_of, text_record

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CHUNK = 256 * 1024

Kind: TypeAlias = Literal["text", "jsonl", "openai-batch", "parquet"]

_KINDS: dict[str, Kind] = {
    ".txt": "text",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}
_COMPRESSED = {".gz", ".zst", ".zstd"}
_GZIP, _PARQUET = b"\x1f\x8b", b"PAR1"
_ZSTD = re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18")  # a frame, or a skippable one


@dataclass(frozen=True, slots=True)
class Shard:
    """One input file; `size` is in bytes as stored."""

    path: str
    uri: str
    size: int


@dataclass(frozen=True, slots=True)
class Listing:
    """The shards of an input in order of path, and how many hidden files were left out."""

    shards: list[Shard]
    hidden: int


def list_shards(uri: str, storage: Storage) -> Listing:
    """The files at `uri`, which names a file, a folder or a glob.

    Files and folders whose names begin with `.` or `_` are hidden, as in Hadoop and Spark: they are
    counted but not read. Raises `ConfigError` if there is no file.
    """
    root = storage.at(uri)
    with storage_errors(uri):
        files = {p: s for p, s in _find(root).items() if not p.endswith("/")}
    if not files:
        raise ConfigError(f"input.uri: {uri}: no file there; give a file, a folder or a glob")
    folder = _fixed_part(root.path) if root.path not in files else root.path.rpartition("/")[0]
    visible = {path: size for path, size in files.items() if not _is_hidden(path, folder)}
    if not visible:
        raise ConfigError(f"input.uri: {uri}: only hidden files (. or _ first) there; rename them")
    shards = [Shard(p, _printable(root.fs, p), size) for p, size in sorted(visible.items())]
    return Listing(shards, len(files) - len(visible))


def _find(root: Location) -> dict[str, int]:
    """Files by path with their sizes; an existing path is not read as a glob."""
    fs, path = root.fs, root.path
    if fs.isfile(path):
        return {path: int(fs.info(path)["size"])}
    if _fixed_part(path) != path and not fs.isdir(path):
        matches = fs.glob(path, detail=True)
        return {p: int(info["size"]) for p, info in matches.items() if info["type"] == "file"}
    return root.files()


def _fixed_part(path: str) -> str:
    """The folder that a glob searches; a path without wildcards as it is."""
    wildcards = [index for sign in "*?[" if (index := path.find(sign)) >= 0]
    return path[: min(wildcards)].rpartition("/")[0] if wildcards else path


def _is_hidden(path: str, root: str) -> bool:
    return any(name.startswith((".", "_")) for name in path.removeprefix(root).split("/"))


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
    expansion = ExpansionLimit(spec.max_expansion)
    kind = _kind_of(shard, head) if spec.format == "auto" else spec.format
    if kind is None:
        fault = Fault(
            "unknown_kind", f"no reader for {PurePosixPath(shard.uri).name}; set input.format"
        )
        yield whole_file(shard, fault, stream.read(PAYLOAD_BYTES))
    elif kind == "parquet":
        yield from parquet_items(shard.uri, stream, spec.max_record_bytes, expansion)
    elif kind == "text":
        yield from _text_items(shard, _decoded(stream, head, expansion), spec)
    else:
        parse = batch_record if kind == "openai-batch" else any_record
        chunks = _decoded(stream, head, expansion)
        yield from jsonl_items(shard.uri, chunks, spec.max_record_bytes, parse)


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
            yield text_record(data, place, spec.text)
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


def _decoded(stream: io.BufferedReader, head: bytes, expansion: ExpansionLimit) -> Iterator[bytes]:
    """A stored file's bytes, decompressed as its magic bytes say.

    Yields everything up to a fault, then raises `Fault`: if the stream is cut off, damaged, or
    expands too far.
    """
    source: io.BufferedReader | gzip.GzipFile | zstd.ZstdFile = stream
    if head.startswith(_GZIP):
        source = gzip.GzipFile(fileobj=stream)
    elif _ZSTD.match(head):
        source = zstd.ZstdFile(stream)
    try:
        expanded = 0
        while chunk := source.read1(CHUNK):
            expanded += len(chunk)
            expansion.check(expanded, stream.tell())
            yield chunk
    except EOFError as error:
        raise Fault("truncated", "the compressed stream ends too early") from error
    except (gzip.BadGzipFile, zlib.error, zstd.ZstdError) as error:
        raise Fault("corrupt", f"cannot be decompressed: {error}") from error


def whole_file(shard: Shard, fault: Fault, payload: bytes = b"") -> Reject:
    """The reject for a shard from which nothing can be read."""
    return fault.at(Place(shard.uri, 0), payload, record_id_of(shard.uri))
