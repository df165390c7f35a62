"""Object stores: what stands for a folder, and what a bucket's error says to do."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest
from aiohttp import web

from pipeline.config.schema import Input
from pipeline.core.errors import ConfigError, OvernightError, StorageError
from pipeline.core.filesystem import Storage
from pipeline.reading.shards import list_shards
from pipeline.reading.source import read_blocks
from tests.support.jobs import S3
from tests.support.proxy import Fault, Proxy
from tests.support.shards import Reading, as_reading

LINE = b'{"record_id": "%d", "question": "How many?", "passages": ["Four."]}\n'


def filled(server: S3, name: Path, objects: Mapping[str, bytes]) -> str:
    """A new bucket with these objects; returns its name."""
    client: Any = boto3.client("s3", endpoint_url=server.endpoint)
    bucket = f"marks-{name.name}".replace("_", "-").lower()[-40:].strip("-")
    client.create_bucket(Bucket=bucket)
    for key, body in objects.items():
        client.put_object(Bucket=bucket, Key=key, Body=body)
    return bucket


def keys(server: S3, uri: str) -> list[str]:
    """The keys of an input's shards, without the bucket."""
    shards = list_shards(uri, Storage(server.storage())).shards
    return [shard.path.partition("/")[2] for shard in shards if not shard.fault]


# What stands for a folder.

MARKED = {
    "in/": b"",
    "in/marked": b"",
    "in/marked/a.jsonl": LINE % 1,
    "in/marked/deep/": b"",
    "in/marked/deep/b.jsonl": LINE % 2,
    "in/hadoop_$folder$": b"",
    "in/hadoop/c.jsonl": LINE % 3,
    "_$folder$": b"",
}
RECORDS = ["in/hadoop/c.jsonl", "in/marked/a.jsonl", "in/marked/deep/b.jsonl"]


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("", RECORDS),
        ("/", RECORDS),
        ("/in", RECORDS),
        ("/in/", RECORDS),
        ("/in/marked", RECORDS[1:]),
        ("/in/marked/", RECORDS[1:]),
        ("/in/marked/deep/", RECORDS[2:]),
        ("/in/**", RECORDS),
        ("/**/*.jsonl", RECORDS),
        ("/in/*/*", RECORDS[:2]),
        ("/in/*/*/*.jsonl", RECORDS[2:]),
        ("/in/m*/*", RECORDS[1:2]),
    ],
)
def test_an_object_that_stands_for_a_folder_is_none_to_be_read(
    moto_s3: S3, tmp_path: Path, uri: str, expected: list[str]
) -> None:
    bucket = filled(moto_s3, tmp_path, MARKED)

    assert keys(moto_s3, f"s3://{bucket}{uri}") == expected


def test_an_empty_object_without_keys_below_it_is_an_empty_file(
    moto_s3: S3, tmp_path: Path
) -> None:
    bucket = filled(moto_s3, tmp_path, {"in/a.jsonl": b"", "in/a.jsonl2": b"x"})

    assert keys(moto_s3, f"s3://{bucket}/in") == ["in/a.jsonl", "in/a.jsonl2"]
    assert keys(moto_s3, f"s3://{bucket}/in/a.jsonl") == ["in/a.jsonl"]


def test_an_object_with_content_and_keys_below_it_is_both(moto_s3: S3, tmp_path: Path) -> None:
    bucket = filled(moto_s3, tmp_path, {"in/a": LINE % 1, "in/a/b.jsonl": LINE % 2})

    assert keys(moto_s3, f"s3://{bucket}/in") == ["in/a", "in/a/b.jsonl"]
    assert keys(moto_s3, f"s3://{bucket}/in/a") == ["in/a"]
    assert keys(moto_s3, f"s3://{bucket}/in/a/") == ["in/a/b.jsonl"]


def test_an_object_with_content_whose_name_ends_like_a_folder_is_a_reject(
    moto_s3: S3, tmp_path: Path
) -> None:
    bucket = filled(moto_s3, tmp_path, {"in/a.jsonl": LINE % 1, "in/odd/": LINE % 2})

    reading = read(moto_s3.storage(), f"s3://{bucket}/in")

    assert [r["record_id"] for r in reading.records] == ["1"]
    (reject,) = reading.rejects
    assert (reject["reason"], reject["source_uri"]) == ("unreadable", f"s3://{bucket}/in/odd/")


@pytest.mark.parametrize("uri", ["", "/", "/in", "/in/", "/in/*.jsonl", "/**/*.jsonl"])
def test_another_server_lists_the_same_whether_a_uri_ends_in_a_slash(
    rclone_s3: S3, tmp_path: Path, uri: str
) -> None:
    bucket = filled(rclone_s3, tmp_path, {"in/a.jsonl": LINE % 1, "in/b.jsonl": LINE % 2})

    assert keys(rclone_s3, f"s3://{bucket}{uri}") == ["in/a.jsonl", "in/b.jsonl"]


# Which requests a listing makes, and which may fail.


@pytest.fixture
def proxy(moto_s3: S3) -> Iterator[Proxy]:
    proxy = Proxy(moto_s3.endpoint).start()
    yield proxy
    proxy.close()


def read(storage: dict[str, Any], uri: str) -> Reading:
    shards = list_shards(uri, at := Storage(storage)).shards
    return as_reading(read_blocks(shards, Input(uri=uri), at))


def test_a_listing_takes_a_request_for_each_thousand_keys_and_few_more(
    rclone_s3: S3, tmp_path: Path
) -> None:
    bucket = filled(rclone_s3, tmp_path, {})
    assert rclone_s3.folder
    for number in range(2100):
        key = rclone_s3.folder / bucket / f"in/{number % 3}/{number:04}.jsonl"
        key.parent.mkdir(parents=True, exist_ok=True)
        key.touch()
    counting = Proxy(rclone_s3.endpoint).start()
    storage = Storage({"endpoint_url": counting.url})
    made = {}
    for uri in ("/in", "/in/", "/in/**/*.jsonl", "/in/*/*.jsonl", "/in/1/00*.jsonl"):
        counting.bodies.clear()
        list_shards(f"s3://{bucket}{uri}", storage)
        made[uri] = len(counting.bodies)
    counting.close()

    # A URI without a final slash may name a file, so its object is asked for first.
    assert made == {
        "/in": 5,
        "/in/": 3,
        "/in/**/*.jsonl": 5,
        "/in/*/*.jsonl": 6,
        "/in/1/00*.jsonl": 3,
    }


def denied(prefix: str) -> Fault:
    """A policy that forbids listing below one prefix."""

    async def fault(request: web.Request, body: bytes) -> web.Response | None:
        if request.query.get("prefix") == prefix:
            return refusal(403, "AccessDenied", "Access Denied")
        return None

    return fault


def refusal(status: int, code: str, message: str, more: str = "", **headers: str) -> web.Response:
    """A refusal in the words of S3."""
    text = f"<Error><Code>{code}</Code><Message>{message}</Message>{more}</Error>"
    return web.Response(
        status=status, text=text, content_type="application/xml", headers=headers or None
    )


def test_a_prefix_that_may_not_be_listed_is_a_reject_and_the_others_are_read(
    proxy: Proxy, moto_s3: S3, tmp_path: Path
) -> None:
    bucket = filled(moto_s3, tmp_path, {f"in/{n}/{n}.jsonl": LINE % n for n in range(4)})
    proxy.fault = denied("in/2/")

    reading = read({"endpoint_url": proxy.url}, f"s3://{bucket}/in/*/*.jsonl")

    assert [r["record_id"] for r in reading.records] == ["0", "1", "3"]
    (reject,) = reading.rejects
    assert (reject["reason"], reject["record_id"]) == ("unreadable", f"s3://{bucket}/in/2")
    assert "access is forbidden (AccessDenied" in reject["detail"]


@pytest.mark.parametrize("below", ["answers", "rejects", "runs"])
def test_a_prefix_of_the_store_that_may_not_be_listed_is_no_empty_one(
    proxy: Proxy, moto_s3: S3, tmp_path: Path, below: str
) -> None:
    bucket = filled(moto_s3, tmp_path, {f"store/{below}/part-a.parquet": b"x"})
    proxy.fault = denied(f"store/{below}/")

    with pytest.raises(StorageError, match=f"store/{below}: access is forbidden"):
        Storage({"endpoint_url": proxy.url}).at(f"s3://{bucket}/store/{below}").files()


# What is wrong with a bucket.

REGION = {"x-amz-bucket-region": "eu-west-1"}
REFUSALS = {
    "missing": (404, "NoSuchBucket", "The specified bucket does not exist", "", {}),
    "forbidden": (403, "AccessDenied", "Access Denied", "", {}),
    "unknown key": (403, "InvalidAccessKeyId", "The key does not exist in our records.", "", {}),
    "expired": (400, "ExpiredToken", "The provided token has expired.", "", {}),
    "redirected": (301, "PermanentRedirect", "Use the specified endpoint.", "", REGION),
    "signed for another region": (
        *(400, "AuthorizationHeaderMalformed", "The region 'us-east-1' is wrong"),
        *("<Region>eu-west-1</Region>", {}),
    ),
    "opted in elsewhere": (
        400,
        "IllegalLocationConstraintException",
        "It is incompatible.",
        "",
        {},
    ),
}
SAID = {
    "missing": r"there is no such bucket \(NoSuchBucket\); create it",
    "forbidden": r"access is forbidden \(AccessDenied.*give the credentials",
    "unknown key": r"access is forbidden \(InvalidAccessKeyId.*set others",
    "expired": r"access is forbidden \(ExpiredToken",
    "redirected": "is in another region, eu-west-1 .*set AWS_DEFAULT_REGION=eu-west-1",
    "signed for another region": "is in another region, eu-west-1 .*region_name: eu-west-1",
    "opted in elsewhere": r"is in another region \(Illegal.*set AWS_DEFAULT_REGION",
}
INPUTS = ("", "/", "/in", "/in/", "/in/*.jsonl", "/*/*.jsonl", "/**/*.jsonl")


@pytest.mark.parametrize("uri", INPUTS)
@pytest.mark.parametrize("kind", REFUSALS)
def test_an_input_s_bucket_that_refuses_says_why_and_what_to_do(
    proxy: Proxy, kind: str, uri: str
) -> None:
    refuse_all(proxy, kind)

    with pytest.raises(OvernightError, match=f"s3://refused.*{SAID[kind]}") as caught:
        list_shards(f"s3://refused{uri}", Storage({"endpoint_url": proxy.url}))

    assert isinstance(caught.value, ConfigError if kind == "missing" else StorageError)


@pytest.mark.parametrize("kind", REFUSALS)
def test_a_store_s_bucket_that_refuses_says_why_and_what_to_do(proxy: Proxy, kind: str) -> None:
    refuse_all(proxy, kind)
    answers = Storage({"endpoint_url": proxy.url}).at("s3://refused/store/answers")

    for ask in (answers.files, answers.file_times, lambda: answers.write_whole(b"x")):
        with pytest.raises(StorageError, match=f"s3://refused/store/answers: .*{SAID[kind]}"):
            ask()


def refuse_all(proxy: Proxy, kind: str) -> None:
    status, code, message, more, headers = REFUSALS[kind]

    async def fault(request: web.Request, body: bytes) -> web.Response:
        text = "" if request.method == "HEAD" else more
        return refusal(status, code, message, text, **headers)

    proxy.fault = fault


@pytest.mark.parametrize("server", ["moto_s3", "rclone_s3"])
def test_real_servers_say_that_a_bucket_is_missing(
    server: str, request: pytest.FixtureRequest
) -> None:
    s3: S3 = request.getfixturevalue(server)
    missing = Storage(s3.storage())

    with pytest.raises(ConfigError, match="there is no such bucket"):
        list_shards("s3://no-such-bucket/in/", missing)
    with pytest.raises(StorageError, match="there is no such bucket"):
        missing.at("s3://no-such-bucket/store/answers").files()


def test_a_real_server_says_that_a_key_is_wrong(rclone_s3: S3, tmp_path: Path) -> None:
    bucket = filled(rclone_s3, tmp_path, {"in/a.jsonl": LINE % 1})
    stranger = Storage({**rclone_s3.storage(), "key": "SOME-OTHER-KEY-1", "secret": "SECRET" * 3})

    with pytest.raises(StorageError, match="access is forbidden"):
        list_shards(f"s3://{bucket}/in", stranger)


def test_a_bucket_is_named_without_wildcards() -> None:
    with pytest.raises(ConfigError, match="name the bucket without wildcards"):
        list_shards("s3://bucket-*/in", Storage())
