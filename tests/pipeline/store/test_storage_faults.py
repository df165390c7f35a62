"""An object store that refuses requests, resets, truncates or stalls them while a job runs.

A proxy between job and server injects the faults. A run completes or ends with exit code 3, and
nobody ever reads anything half-written.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Iterator

import fsspec
import pyarrow.parquet as pq
import pytest
from aiohttp import web

from pipeline.config.schema import Input
from pipeline.core.errors import StorageError
from pipeline.core.filesystem import Storage
from pipeline.reading.shards import list_shards
from pipeline.reading.source import read_blocks
from pipeline.store.parts import list_parts
from pipeline.store.reader import read_rows
from tests.conftest import S3_KEY, S3_SECRET
from tests.support.jobs import (
    S3,
    counts,
    job,
    job_file,
    overnight,
    rows,
    run,
    run_on_cluster,
    write_jsonl,
)
from tests.support.proxy import Fault, Proxy, no_fault

RECORDS, SHARE = 300, 0.1
PATIENCE, SILENT_SECONDS = 3, 5
"""How long a client waits for a reply, and how long the proxy stalls it."""


@pytest.fixture
def proxy(rclone_s3) -> Iterator[Proxy]:
    proxy = Proxy(rclone_s3.endpoint).start()
    yield proxy
    proxy.close()


def client(server: S3):
    return fsspec.filesystem(
        "s3", key=S3_KEY, secret=S3_SECRET, endpoint_url=server.endpoint, skip_instance_cache=True
    )


def sporadic(kind: str, seed: int) -> Fault:
    """A tenth of all requests is answered 503, reset, or cut off in the middle."""
    chance = random.Random(seed)

    async def fault(request: web.Request, body: bytes):
        if chance.random() >= SHARE:
            return None
        if kind == "cut":
            return "cut"
        if kind == "reset" and request.transport:
            request.transport.abort()
        return web.Response(status=503)

    return fault


def silence() -> Fault:
    """Ten requests are answered only after their client has stopped waiting."""
    seen = 0

    async def fault(request: web.Request, body: bytes):
        nonlocal seen
        seen += 1
        if 50 <= seen < 60:
            await asyncio.sleep(SILENT_SECONDS)

    return fault


@pytest.mark.parametrize(
    ("kind", "start"),
    [
        ("503", run_on_cluster),
        ("reset", run),
        ("cut", run),
        pytest.param("silence", run_on_cluster, marks=pytest.mark.soak),
    ],
)
def test_a_run_completes_or_says_that_it_did_not_and_what_is_stored_is_whole(
    kind, start, proxy, rclone_s3, ray_cluster, tmp_path
):
    bucket = f"faults-{kind}-{tmp_path.name[-1]}"
    client(rclone_s3).mkdir(bucket)
    for at in range(0, RECORDS, 20):
        write_jsonl(tmp_path / f"shards/{at:04}.jsonl", rows(range(at, at + 20)))
    client(rclone_s3).put(f"{tmp_path}/shards/", f"{bucket}/shards/", recursive=True)
    a_job = job(
        f"s3://{bucket}/shards/",
        f"s3://{bucket}/store",
        20,
        storage={"endpoint_url": proxy.url, "config_kwargs": {"read_timeout": PATIENCE}},
    )
    proxy.fault = silence() if kind == "silence" else sporadic(kind, seed=11)
    document, error = {}, ""
    try:
        document = start(a_job)
    except StorageError as failure:
        error = str(failure)
    store = Storage(rclone_s3.storage()).at(f"s3://{bucket}/store")
    stored = sum(table.num_rows for table in read_rows(store))
    for path in list_parts(store.join("answers")):
        with store.fs.open(path, "rb") as part:
            assert pq.read_table(part, page_checksum_verification=True).num_rows <= 20
    if error:
        assert f"s3://{bucket}/" in error
    else:
        assert counts(document) == {"read": RECORDS, "answered": RECORDS}
        assert stored == RECORDS
    print(f"{kind}: {error or 'done'}, {stored} stored, {len(proxy.bodies)} requests")
    proxy.fault = no_fault
    assert counts(run(a_job)).get("current", 0) == stored
    assert sum(table.num_rows for table in read_rows(store)) == RECORDS


def test_a_small_shard_is_read_by_one_request(proxy, rclone_s3, tmp_path):
    client(rclone_s3).mkdir(bucket := f"counted-{tmp_path.name[-1]}")
    for at in range(4):
        write_jsonl(tmp_path / f"shards/{at}.jsonl", rows([at]))
    (tmp_path / "shards/empty.jsonl").touch()
    client(rclone_s3).put(f"{tmp_path}/shards/", f"{bucket}/shards/", recursive=True)
    storage = Storage({"endpoint_url": proxy.url})
    shards = list_shards(f"s3://{bucket}/shards/", storage).shards
    requests: Counter[str] = Counter()

    async def count(request: web.Request, body: bytes) -> None:
        requests[request.path.rsplit("/")[-1]] += 1

    proxy.fault = count
    blocks = read_blocks(shards, Input(uri=f"s3://{bucket}/shards/"), storage)
    records = [record for block in blocks for record in block.records]
    assert [record.record_id for record in records] == [row["record_id"] for row in rows(range(4))]
    assert {requests[f"{at}.jsonl"] for at in range(4)} == {1}


def no_more_answers() -> Fault:
    """Parts of answers are refused from the third on, and for good."""
    accepted: set[str] = set()

    async def fault(request: web.Request, body: bytes):
        if request.method in ("PUT", "POST") and "/answers/" in request.path:
            accepted.update([request.path] if len(accepted) < 2 else [])
            if request.path not in accepted:
                return web.Response(status=503)
        return None

    return fault


def test_a_store_that_takes_no_more_answers_ends_the_run_with_exit_3_and_its_uri(
    proxy, rclone_s3, ray_cluster, tmp_path
):
    bucket = f"full-{tmp_path.name[-1]}"
    client(rclone_s3).mkdir(bucket)
    write_jsonl(tmp_path / "shards/0.jsonl", rows(range(200)))
    storage = {"endpoint_url": proxy.url, "config_kwargs": {"retries": {"max_attempts": 1}}}
    a_job = job(tmp_path / "shards", f"s3://{bucket}/store", 20, storage=storage)
    file = job_file(tmp_path / "job.yaml", a_job)
    proxy.fault = no_more_answers()
    refused = overnight("run", file, address=ray_cluster.address)
    assert refused.returncode == 3
    last_words = refused.stderr.strip().splitlines()[-2:]
    assert f"s3://{bucket}/store/answers/" in "\n".join(last_words)
    assert "Traceback" not in refused.stderr
    proxy.fault = no_fault
    done = counts(run(a_job))
    assert (done["read"], done["current"] + done["answered"]) == (200, 200)
    assert done["current"] >= 20
