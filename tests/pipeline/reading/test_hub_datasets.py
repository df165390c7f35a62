"""`hf://datasets/…` as input: tried on a stand-in for the hub, of three kinds of requests."""

import json
import re
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from pipeline.config.schema import Input
from pipeline.core.errors import ConfigError
from pipeline.core.filesystem import Storage
from pipeline.reading.shards import list_shards
from pipeline.reading.source import read_blocks
from tests.support.shards import as_reading

LINE = b'{"record_id": "%d", "question": "How many?", "passages": ["Four."]}\n'
FILES = {
    "README.md": b"# Herons\n",
    "data/train-00000.jsonl": LINE % 1 + LINE % 2,
    "data/train-00001.jsonl": LINE % 3,
    "data/deep/empty.jsonl": b"",
    "large.jsonl": b"".join(LINE % n for n in range(30_000)),
}
DATASET = "herons/ponds"


class StandIn(BaseHTTPRequestHandler):
    """The revision of a dataset, its tree, and its files by range."""

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if path.startswith(f"/datasets/{DATASET}/resolve/main/"):
            self._file(FILES.get(path.partition("/main/")[2]))
        elif path.startswith(f"/api/datasets/{DATASET}/tree/main"):
            self._tree(path.partition("/tree/main")[2].strip("/"))
        elif path in (f"/api/datasets/{DATASET}", f"/api/datasets/{DATASET}/revision/main"):
            self._say(200, json.dumps({"id": DATASET, "sha": "a" * 40, "private": False}).encode())
        else:
            self._say(404, b'{"error": "Repository not found"}', {"X-Error-Code": "RepoNotFound"})

    do_HEAD = do_GET

    def do_POST(self) -> None:
        """Facts about some paths."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        found = [self._entry(path) for path in asked["paths"] if self._entry(path)]
        self._say(200, json.dumps(found).encode())

    def _entry(self, path: str) -> dict[str, Any] | None:
        if path in FILES:
            size = len(FILES[path])
            return {"type": "file", "path": path, "size": size, "oid": f"{size:040}"}
        is_folder = any(name.startswith(f"{path}/") for name in FILES)
        return {"type": "directory", "path": path, "oid": "b" * 40} if is_folder else None

    def _tree(self, folder: str) -> None:
        below = [name for name in FILES if name.startswith(f"{folder}/" if folder else "")]
        folders = {name.rpartition("/")[0] for name in below} - {"", folder}
        if not below:
            self._say(404, b"{}", {"X-Error-Code": "EntryNotFound"})
            return
        self._say(200, json.dumps([self._entry(path) for path in [*folders, *below]]).encode())

    def _file(self, data: bytes | None) -> None:
        if data is None:
            self._say(404, b"", {"X-Error-Code": "EntryNotFound"})
        elif wanted := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            start, end = int(wanted[1]), min(int(wanted[2] or len(data)), len(data) - 1)
            self._say(
                206, data[start : end + 1], {"Content-Range": f"bytes {start}-{end}/{len(data)}"}
            )
        else:
            self._say(200, data, {"X-Repo-Commit": "a" * 40, "ETag": f'"{len(data)}"'})

    def _say(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Storage]:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    server = ThreadingHTTPServer(("127.0.0.1", 0), StandIn)
    Thread(target=server.serve_forever, daemon=True).start()
    yield Storage({"hf": {"endpoint": f"http://127.0.0.1:{server.server_port}"}})
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("", sorted(FILES)),
        ("/data", sorted(FILES)[1:4]),
        ("/data/", sorted(FILES)[1:4]),
        ("/data/train-*.jsonl", sorted(FILES)[2:4]),
        ("/*/*.jsonl", sorted(FILES)[2:4]),
        ("/**/*.jsonl", sorted(FILES)[1:]),
        ("/large.jsonl", ["large.jsonl"]),
        ("@main/large.jsonl", ["large.jsonl"]),
    ],
)
def test_a_dataset_is_listed_by_folder_file_and_glob(
    storage: Storage, uri: str, expected: list[str]
) -> None:
    shards = list_shards(f"hf://datasets/{DATASET}{uri}", storage).shards

    assert [shard.path.partition("ponds")[2].partition("/")[2] for shard in shards] == expected
    assert all(shard.uri.startswith(f"hf://datasets/{DATASET}") for shard in shards)


def test_records_of_a_dataset_are_read(storage: Storage) -> None:
    uri = f"hf://datasets/{DATASET}/"
    shards = list_shards(uri, storage).shards

    reading = as_reading(read_blocks(shards, Input(uri=uri), storage))

    assert len(reading.records) == 30_003
    reasons = sorted(r["reason"] for r in reading.rejects)
    assert reasons == ["empty_file", "unknown_kind"]


def test_a_dataset_that_is_not_there_or_not_ours_is_said_so(storage: Storage) -> None:
    with pytest.raises(ConfigError, match=r"egrets/ponds.*repository not found.*private"):
        list_shards("hf://datasets/egrets/ponds/data", storage)
    with pytest.raises(ConfigError, match="no file there"):
        list_shards(f"hf://datasets/{DATASET}/none", storage)
