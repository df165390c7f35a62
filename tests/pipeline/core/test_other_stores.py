"""`gs://` and `az://` follow the rules of `s3://`: tried on emulators, not on the real services."""

import os
import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from pipeline.config.schema import Input
from pipeline.core.errors import ConfigError, StorageError
from pipeline.core.filesystem import Location, Storage
from pipeline.reading.shards import list_shards
from pipeline.reading.source import read_blocks
from tests.support.emulators import Emulator, connection_string
from tests.support.proxy import Fault, Proxy, no_fault
from tests.support.shards import Reading, as_reading

LINE = b'{"record_id": "%d", "question": "How many?", "passages": ["Four."]}\n'

MARKED = {
    "in/": b"",
    "in/marked/": b"",
    "in/marked/a.jsonl": LINE % 1,
    "in/marked/deep/b.jsonl": LINE % 2,
    "in/both": LINE % 3,
    "in/both/c.jsonl": LINE % 4,
    "in/empty.jsonl": b"",
    "in/.hidden/d.jsonl": LINE % 5,
    "in2/e.jsonl": LINE % 6,
}
SHOWN = ["in/both", "in/both/c.jsonl", "in/empty.jsonl", "in/marked/a.jsonl"]
SHOWN += ["in/marked/deep/b.jsonl"]


@pytest.fixture
def bucket(emulator: Emulator, tmp_path: Path) -> str:
    return emulator.bucket(f"rules-{tmp_path.name}", MARKED)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("", [*SHOWN, "in2/e.jsonl"]),
        ("/in", SHOWN),
        ("/in/", SHOWN),
        ("/in/marked", SHOWN[3:]),
        ("/in/both", SHOWN[:1]),
        ("/in/both/", SHOWN[1:2]),
        ("/in/*", [SHOWN[0], SHOWN[2]]),
        ("/in/b*", SHOWN[:1]),
        ("/in/*/*", [SHOWN[1], SHOWN[3]]),
        ("/in/m*/**", SHOWN[3:]),
        ("/**/*.jsonl", [*SHOWN[1:], "in2/e.jsonl"]),
    ],
)
def test_folders_globs_and_markers_are_read_as_on_s3(
    emulator: Emulator, bucket: str, path: str, expected: list[str]
) -> None:
    listing = list_shards(emulator.uri(bucket + path), Storage(emulator.storage()))

    assert [shard.path.partition("/")[2] for shard in listing.shards] == expected
    assert {shard.fault for shard in listing.shards} == {None}


def test_a_blob_that_marks_a_folder_of_a_namespace_is_no_file(
    azurite_emulator: Emulator, tmp_path: Path
) -> None:
    files = {"in/a.jsonl": LINE % 1, "in/deep": b"", "in/deep/b.jsonl": LINE % 2}
    bucket = azurite_emulator.bucket(f"folders-{tmp_path.name}", files)
    fs = azurite_emulator.at(bucket).fs
    fs.setxattrs(f"{bucket}/in/deep", hdi_isfolder="true")
    fs.pipe_file(f"{bucket}/in/bare", b"")
    fs.setxattrs(f"{bucket}/in/bare", Hdi_isfolder="true")

    for glob in ("/in", "/in/", "/in/**", "/in/[ad]*/**"):
        shards = list_shards(azurite_emulator.uri(bucket + glob), Storage()).shards
        assert [s.path.partition("/in/")[2] for s in shards][-1:] == ["deep/b.jsonl"]
        assert {s.path.partition("/in/")[2] for s in shards} <= {"a.jsonl", "deep/b.jsonl"}


def test_shards_small_large_and_empty_are_read_whole(emulator: Emulator, tmp_path: Path) -> None:
    large = b"".join(LINE % n for n in range(20_000))
    files = {"in/a.jsonl": LINE % 1, "in/b.jsonl": large, "in/c.jsonl": b""}
    bucket = emulator.bucket(f"shards-{tmp_path.name}", files)

    reading = read(emulator.storage(), emulator.uri(f"{bucket}/in"))

    assert len(reading.records) == 1 + 20_000
    assert [r["reason"] for r in reading.rejects] == ["empty_file"]


def read(storage: dict[str, Any], uri: str) -> Reading:
    options = Storage(storage)
    return as_reading(read_blocks(list_shards(uri, options).shards, Input(uri=uri), options))


def test_a_listing_has_what_others_have_written_and_removed_since(
    emulator: Emulator, bucket: str
) -> None:
    folder, other = emulator.at(f"{bucket}/in2"), other_client(emulator, f"{bucket}/in2")
    assert len(folder.files()) == 1

    other.join("f.jsonl").write_whole(b"x")
    assert [p.rpartition("/")[2] for p in folder.files()] == ["e.jsonl", "f.jsonl"]
    other.fs.rm_file(other.join("e.jsonl").path)
    assert [p.rpartition("/")[2] for p in folder.files()] == ["f.jsonl"]
    assert folder.join("e.jsonl").found() is None


def other_client(emulator: Emulator, path: str) -> Location:
    """A client that shares nothing with the others of this process."""
    alone = {emulator.scheme: {**emulator.options, "skip_instance_cache": True}}
    return Storage(alone).at(emulator.uri(path))


def test_a_missing_bucket_is_an_error_and_a_missing_folder_is_empty(
    emulator: Emulator, bucket: str
) -> None:
    assert emulator.at(f"{bucket}/none/answers").files() == {}
    asked: list[Callable[[Location], object]] = [
        Location.files,
        Location.file_times,
        lambda folder: folder.join("p").write_whole(b"x"),
        lambda folder: folder.join("p").create(b"x"),
    ]
    for ask in asked:
        with pytest.raises(StorageError, match=r"no-such-place.*there is no such (bucket|contain)"):
            ask(emulator.at("no-such-place/answers"))
    with pytest.raises(ConfigError, match=r"input\.uri: .*there is no such"):
        list_shards(emulator.uri("no-such-place/in"), Storage(emulator.storage()))


# Conditional creation: the emulator's own `If-None-Match` for Azure; for Google what the tests add
# to an emulator that ignores `ifGenerationMatch`.


@pytest.mark.parametrize("size", [10, 65 * 2**20])
def test_creation_refuses_a_second_writer(emulator: Emulator, bucket: str, size: int) -> None:
    path = f"{bucket}/new.json"
    first, second = emulator.at(path), other_client(emulator, path)
    first.create(b"1" * size)

    with pytest.raises(FileExistsError):
        second.create(b"2" * size)

    assert first.fs.cat_file(first.path) == b"1" * size
    assert first.create_beside(b"3").path != first.path


def test_of_many_writers_at_once_one_creates(emulator: Emulator, bucket: str) -> None:
    def create(number: int) -> int:
        try:
            other_client(emulator, f"{bucket}/one").create(b"%d" % number)
        except FileExistsError:
            return 0
        return 1

    with ThreadPoolExecutor(4) as writers:
        assert sum(writers.map(create, range(12))) == 1


def test_a_large_file_is_adopted_whole_and_replaced(
    emulator: Emulator, bucket: str, tmp_path: Path
) -> None:
    target = emulator.at(f"{bucket}/large.parquet")
    for size in (60 * 2**20, 6 * 2**20, 0):
        (local := tmp_path / "local").write_bytes(data := os.urandom(size))
        target.adopt(str(local))
        assert target.fs.cat_file(target.path) == data


def test_a_location_travels_to_other_processes(emulator: Emulator, bucket: str) -> None:
    location = emulator.at(f"{bucket}/in")

    assert pickle.loads(pickle.dumps(location)).files() == location.files()  # noqa: S301


# Refusals.


@pytest.fixture
def proxy(emulator: Emulator) -> Iterator[Proxy]:
    proxy = Proxy("/".join(emulator.endpoint.split("/")[:3])).start()
    yield proxy
    proxy.close()


@pytest.fixture
def refused(emulator: Emulator, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Storage:
    """The emulator by way of the proxy."""
    address = emulator.endpoint.replace(proxy.target, proxy.url)
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", connection_string(address))
    own = {"endpoint_url": address} if emulator.scheme == "gs" else {}
    options = {**emulator.options, **own, "skip_instance_cache": True}
    return Storage({emulator.scheme: options})


SECRET = "hunter2-hunter2"


def refusing(status: int, only: str = "") -> Fault:
    async def fault(request: web.Request, body: bytes) -> web.Response | None:
        if only not in request.path_qs:
            return None
        error = {"code": status, "message": f"herons may not; sig={SECRET} https://x?sig={SECRET}"}
        headers = {"x-ms-error-code": "AuthorizationFailure"}
        return web.json_response({"error": error}, status=status, headers=headers)

    return fault


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_request_is_an_error_that_names_the_uri_and_the_way_out(
    emulator: Emulator, bucket: str, refused: Storage, proxy: Proxy, status: int
) -> None:
    proxy.fault = refusing(status)
    folder = refused.at(emulator.uri(f"{bucket}/in"))
    ways: list[Callable[[], object]] = [
        folder.files,
        lambda: folder.join("x").write_whole(b"x"),
        lambda: folder.join("x").create(b"x"),
        lambda: list_shards(f"{folder.uri}/*/*", refused),
        lambda: list_shards(folder.uri, refused),
    ]
    for ask in ways:
        with pytest.raises(StorageError, match="access is forbidden") as said:
            ask()
        assert str(said.value).startswith(f"{folder.uri}")
        assert {"gs": "GOOGLE_APP", "az": "AZURE_ST"}[emulator.scheme] in str(said.value)
        assert f"?sig={SECRET}" not in str(said.value)
        assert "\n" not in str(said.value)


def test_one_shard_that_may_not_be_read_is_a_reject(
    emulator: Emulator, bucket: str, refused: Storage, proxy: Proxy
) -> None:
    shards = list_shards(emulator.uri(f"{bucket}/in/"), refused).shards
    proxy.fault = refusing(403, "deep")

    reading = as_reading(read_blocks(shards, Input(uri="-"), refused))

    proxy.fault = no_fault
    assert sorted(r["record_id"] for r in reading.records) == ["1", "4"]
    reasons = sorted(r["reason"] for r in reading.rejects)
    assert reasons == ["empty_file", "unknown_kind", "unreadable"]


def test_a_listing_of_google_goes_on_to_its_last_page(
    gcs_emulator: Emulator, tmp_path: Path
) -> None:
    proxy = Proxy(gcs_emulator.endpoint).start()
    storage = Storage({"gs": {**gcs_emulator.options, "endpoint_url": proxy.url}})

    async def pages(request: web.Request, body: bytes) -> web.Response:
        at = int(request.query.get("pageToken", "0"))
        item = {"name": f"in/{at}.jsonl", "size": "1", "updated": "2026-11-29T00:00:00.000Z"}
        more = {"nextPageToken": str(at + 1)} if at < 3 else {}
        return web.json_response({"kind": "storage#objects", "items": [item], **more})

    proxy.fault = pages
    names = storage.at("gs://paged/in").files()
    proxy.close()

    assert list(names) == [f"paged/in/{at}.jsonl" for at in range(4)]
