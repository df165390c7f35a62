"""Whole runs pass under the policies for buckets: no delete, and under one of them no overwrite.

moto enforces which actions users may do, but no conditions. For the condition that forbids to
overwrite, a proxy before it refuses requests without `If-None-Match: *`, as S3 would.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import fsspec
import pytest
import urllib3
from aiohttp import web

from pipeline.config.schema import Job
from pipeline.core.filesystem import Storage
from pipeline.results.pages.run_page import write_report
from pipeline.store.reader import count_rows
from pipeline.store.runs import all_runs
from tests.conftest import _wait_for
from tests.support.jobs import (
    BETTER_PROMPT,
    ROOT,
    counts,
    free_port,
    job,
    job_file,
    rows,
    run,
)
from tests.support.proxy import Proxy

POLICIES = ROOT / "deploy/policies"
APPEND_ONLY, READER_WRITER = "append-only", "reader-writer"


@dataclass(frozen=True)
class Guarded:
    """A server on which the user with these keys may do what a policy allows, and nothing else."""

    endpoint: str
    keys: dict[str, str]

    @property
    def options(self) -> dict[str, Any]:
        """With the user's keys, which a job *file* must not hold."""
        return {**self.keys, "endpoint_url": self.endpoint}

    def client(self) -> Any:
        return fsspec.filesystem("s3", **self.options, skip_instance_cache=True)


@pytest.fixture(scope="module", params=[APPEND_ONLY, READER_WRITER])
def guarded(request, environment) -> Iterator[tuple[str, Guarded]]:
    """moto in a process of its own, which enforces rights once all is set up."""
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _wait_for(port, 60)
    endpoint = f"http://127.0.0.1:{port}"
    keys = set_up(endpoint, request.param)
    proxy = Proxy(endpoint).start()
    if request.param == APPEND_ONLY:
        proxy.fault = refuse_overwrite
    yield request.param, Guarded(proxy.url, keys)
    proxy.close()
    server.terminate()
    server.wait(10)


def set_up(endpoint: str, policy: str) -> dict[str, str]:
    """Buckets, records, and a user with the policy; returns the user's keys."""
    iam, s3 = (boto3.client(name, endpoint_url=endpoint) for name in ("iam", "s3"))
    for bucket in ("example-records", "example-answers"):
        s3.create_bucket(Bucket=bucket)
    for at in range(0, 60, 20):
        lines = "".join(json.dumps(row) + "\n" for row in rows(range(at, at + 20)))
        s3.put_object(Bucket="example-records", Key=f"papers/{at}.jsonl", Body=lines.encode())
    iam.create_user(UserName="overnight")
    document = (POLICIES / f"{policy}.json").read_text()
    iam.put_user_policy(
        UserName="overnight", PolicyName=policy, PolicyDocument=without_conditions(document)
    )
    access = iam.create_access_key(UserName="overnight")["AccessKey"]
    enforce = f"{endpoint}/moto-api/reset-auth"
    response = urllib3.request("POST", enforce, body=b"0", headers={"Content-Type": "text/plain"})
    assert response.status == 200
    return {"key": access["AccessKeyId"], "secret": access["SecretAccessKey"]}


def without_conditions(document: str) -> str:
    """The part of a policy that moto supports: what is allowed, and what is always refused."""
    policy = json.loads(document)
    supported = [s for s in policy["Statement"] if s["Effect"] == "Allow" or "Condition" not in s]
    for statement in supported:
        statement.pop("Condition", None)
    return json.dumps({**policy, "Statement": supported})


async def refuse_overwrite(request: web.Request, body: bytes) -> web.Response | None:
    """The policy's statement `NothingIsOverwritten`."""
    creates = request.method == "PUT" and "partNumber" not in request.query
    if creates and request.headers.get("If-None-Match") != "*":
        error = "<Error><Code>AccessDenied</Code><Message>If-None-Match</Message></Error>"
        return web.Response(status=403, text=error, content_type="application/xml")
    return None


def guarded_job(guarded: Guarded, policy: str, **sections: Any) -> Job:
    return job(
        "s3://example-records/papers/",
        "unused",
        20,
        storage=guarded.options,
        **{
            "output": {
                "uri": "s3://example-answers/papers",
                "append_only": policy == APPEND_ONLY,
                "rows_per_file": 20,
            },
            **sections,
        },
    )


def test_the_policy_forbids_deletes_and_one_of_them_overwrites(guarded):
    policy, server = guarded
    client = server.client()
    client.pipe_file("example-answers/papers/a", b"1", mode="create")
    with pytest.raises(PermissionError):
        client.rm_file("example-answers/papers/a")
    if policy == APPEND_ONLY:
        with pytest.raises(PermissionError):
            client.pipe_file("example-answers/papers/b", b"2")
        with pytest.raises(FileExistsError):
            client.pipe_file("example-answers/papers/a", b"2", mode="create")
    with pytest.raises(PermissionError):
        client.mkdir("another-bucket")


def test_a_whole_run_and_a_backfill_pass_under_the_policy(guarded, tmp_path):
    policy, server = guarded
    edited = tmp_path / "edited.md"
    edited.write_text(Path(BETTER_PROMPT).read_text() + "\nBe brief.\n")
    first = guarded_job(server, policy)
    backfill = guarded_job(server, policy, prompt=str(edited))
    assert counts(run(first, "monday")) == {"read": 60, "answered": 60}
    assert counts(run(backfill, "tuesday")) == {"read": 60, "answered": 60}
    assert counts(run(backfill, "tuesday")) == {"read": 60, "current": 60}
    store = Storage(backfill.storage).at(backfill.output.uri)
    for _ in range(2):
        write_report(store, backfill, "tuesday")
    assert count_rows(store) == 120
    runs = {run["run_id"]: run for run in all_runs(store)}
    assert [runs[r]["status"] for r in ("monday", "tuesday")] == ["done", "done"]
    assert [start["counts"]["answered"] for start in runs["tuesday"]["resumed"]] == [60]
    names = {path.rpartition("/runs/tuesday/")[2] for path in store.files()} - {""}
    written_once = {"run.json", "report.html"}
    again = {"started.json", "started-2.json", "run-2.json", "report-2.html"}
    own = {name for name in names if "/" not in name}
    assert own == (written_once | again if policy == APPEND_ONLY else written_once)


def test_compaction_is_refused_if_nothing_may_be_deleted(command, tmp_path):
    append = {"uri": str(tmp_path / "store"), "append_only": True}
    file = job_file(tmp_path / "job.yaml", job(tmp_path, "unused", output=append))
    refused = command("compact", file)
    assert refused.returncode == 2
    assert "output.append_only" in refused.stderr


@pytest.mark.parametrize("policy", [APPEND_ONLY, READER_WRITER])
def test_a_policy_allows_no_more_than_the_job_needs(policy):
    statements = json.loads((POLICIES / f"{policy}.json").read_text())["Statement"]
    allowing = [s for s in statements if s["Effect"] == "Allow"]
    actions, resources = (
        {value for s in allowing for value in as_list(s[name])} for name in ("Action", "Resource")
    )
    assert actions == {"s3:ListBucket", "s3:GetObject", "s3:PutObject"}
    assert {r.split(":::")[1].split("/")[0] for r in resources} == {
        "example-records",
        "example-answers",
    }


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
