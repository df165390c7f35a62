"""No planted secret appears in any output or file of a command, however the command ends.

The secrets are in the environment of a cluster, as in production. Its session folder with Ray's
logs is searched too, and so are the decoded tables of a store.
"""

import asyncio
import base64
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import fsspec
import httpx
import openai
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from aiohttp import web

from pipeline.config.loading import load_job
from pipeline.core.errors import ConfigError, StorageError
from pipeline.core.filesystem import storage_errors
from pipeline.engines.engine import GenerationError
from pipeline.engines.openai import OpenAIEngine
from tests.support.clusters import nodes
from tests.support.jobs import (
    ROOT,
    S3,
    job,
    job_file,
    overnight,
    rows,
    write_jsonl,
)
from tests.support.proxy import Proxy

RECORDS = 20
ONCE = {"config_kwargs": {"retries": {"max_attempts": 1}}}
"""A client that does not retry, so that errors come soon."""


def planted_environment(store: Proxy, endpoint: Proxy, webhook: Proxy) -> dict[str, str]:
    """New secrets in the formats of their services, with characters that addresses escape, and
    addresses with a password.
    """
    password = f"pass{secrets.token_hex(8)}"
    return {
        "AWS_ACCESS_KEY_ID": f"AKIA{secrets.token_hex(8).upper()}",
        "AWS_SECRET_ACCESS_KEY": f"wJalr/{secrets.token_hex(8)}+/{secrets.token_hex(4)}",
        "AWS_SESSION_TOKEN": f"FwoG/{secrets.token_hex(16)}+==",
        "OPENAI_API_KEY": f"sk-proj-{secrets.token_hex(16)}",
        "HF_TOKEN": f"hf_{secrets.token_hex(12)}",
        "OVERNIGHT_WEBHOOK": f"{webhook.url}/hook{secrets.token_hex(8)}",
        "AWS_ENDPOINT_URL": f"http://someone:{password}@127.0.0.1:{store.port}",
        "OPENAI_BASE_URL": f"http://someone:{password}@127.0.0.1:{endpoint.port}/v1",
    }


def hidden_in(environment: Mapping[str, str]) -> dict[str, str]:
    """Each secret by its name; of an address, its password or its path."""
    plain = {name: value for name, value in environment.items() if "://" not in value}
    password = environment["AWS_ENDPOINT_URL"].split("@")[0].rpartition(":")[2]
    return plain | {"webhook": environment["OVERNIGHT_WEBHOOK"][-20:], "password": password}


def forms(secret: str) -> set[bytes]:
    """A secret as it may appear in a file: plain, in an address, in JSON, in base 64."""
    whole = base64.b64encode(secret.encode()).rstrip(b"=")
    # The last encoded character depends on what follows.
    return {
        secret.encode(),
        quote(secret, safe="").encode(),
        json.dumps(secret)[1:-1].replace("/", "\\/").encode(),
        whole[:-1],
        base64.b64encode(f"someone:{secret}".encode()).rstrip(b"=")[:-1],
    }


@dataclass
class Scene:
    """A cluster with secrets, a folder with all files of it and its jobs, and their output."""

    address: str
    folder: Path
    environment: dict[str, str]
    store: Proxy
    endpoint: Proxy
    bucket: str
    output: dict[str, str] = field(default_factory=dict)

    def write_job(self, name: str, uri: object, store: object, **sections: Any) -> Path:
        return job_file(self.folder / f"{name}.yaml", job(str(uri), str(store), 20, **sections))

    @property
    def shards(self) -> Path:
        return self.folder / "shards"

    def run(self, *arguments: object) -> tuple[int, str]:
        """Exit code and standard error of a command; both outputs are kept for the search."""
        done = overnight(*arguments, address=self.address, **self.environment)
        name = " ".join(map(str, arguments))
        self.output |= {f"{name}, stdout": done.stdout, f"{name}, stderr": done.stderr}
        return done.returncode, done.stderr

    def leaks(self) -> list[str]:
        """Each secret that appears somewhere, with the place."""
        names = {form: name for name, s in hidden_in(self.environment).items() for form in forms(s)}
        output = {name: text.encode() for name, text in self.output.items()}
        return sorted(
            f"{name} in {place}"
            for place, content in {**output, **contents(self.folder)}.items()
            for name in {names[form] for form in names if form in content}
        )


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of every file, and the decoded text of Parquet files."""
    contents = {}
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            contents[str(path)] = path.read_bytes()
            if path.suffix == ".parquet":
                contents[f"{path} decoded"] = repr(pq.read_table(path).to_pylist()).encode()
    return contents


@pytest.fixture(scope="module")
def scene(moto_s3) -> Iterator[Scene]:
    folder = Path(tempfile.mkdtemp(prefix="s", dir="/tmp"))  # paths of sockets must be short
    write_jsonl(folder / "shards/a.jsonl", rows(range(RECORDS)))
    client = any_client(moto_s3)
    client.mkdir(bucket := f"secrets-{secrets.token_hex(4)}")
    client.put(str(folder / "shards/a.jsonl"), f"{bucket}/shards/a.jsonl")
    nowhere = "http://127.0.0.1:9"
    store, endpoint = Proxy(moto_s3.endpoint).start(), Proxy(nowhere).start()
    webhook = Proxy(nowhere, refuse_message).start()
    planted = planted_environment(store, endpoint, webhook)
    with ExitStack() as standing:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in planted.items():
                patch.setenv(name, value)
            head = nodes({"num_cpus": 2, "temp_dir": str(folder / "ray")})
            cluster = standing.enter_context(head)
        yield Scene(cluster.address, folder, planted, store, endpoint, bucket)
    for proxy in (store, endpoint, webhook):
        proxy.close()
    shutil.rmtree(folder, ignore_errors=True)


def any_client(server: S3) -> Any:
    """A client of moto, which accepts any key."""
    keys = {"key": "any", "secret": "any", "endpoint_url": server.endpoint}
    return fsspec.filesystem("s3", **keys, skip_instance_cache=True)


def download(scene: Scene, server: S3, folder: str) -> list[str]:
    """Copies a folder of the bucket into the folder that is searched; returns its files."""
    client = any_client(server)
    names = client.find(f"{scene.bucket}/{folder}")
    for name in names:
        (file := scene.folder / "downloaded" / name).parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(client.cat_file(name))
    return names


async def hang_up(request: web.Request, body: bytes) -> web.Response | None:
    """Closes the connection when answers are written; the client's error has the address."""
    if "/answers/" in request.path and request.method in ("PUT", "POST") and request.transport:
        request.transport.abort()
        return web.Response(status=503)
    return None


async def refuse_key(request: web.Request, body: bytes) -> web.Response:
    """An endpoint that repeats the headers of a request."""
    message = f"not allowed: {dict(request.headers)}"
    return web.json_response({"error": {"message": message}}, status=401)


async def refuse_credentials(request: web.Request, body: bytes) -> web.Response:
    """An object store that does so too; real ones repeat at least the key's id."""
    message = f"{request.headers['Authorization']} {request.headers['X-Amz-Security-Token']}"
    text = f"<Error><Code>AccessDenied</Code><Message>{message}</Message></Error>"
    return web.Response(status=403, text=text, content_type="application/xml")


async def refuse_message(request: web.Request, body: bytes) -> web.Response:
    """A webhook that repeats its own address."""
    return web.Response(status=403, text=f"nobody at {request.url}")


async def say_nothing(request: web.Request, body: bytes) -> web.Response:
    await asyncio.sleep(60)
    return web.Response(status=503)


def test_the_search_finds_a_planted_secret_in_every_form(scene):
    for name, secret in hidden_in(scene.environment).items():
        for form in forms(secret):
            (file := scene.folder / "control").write_bytes(b"..\0" + form + b"\0..")
            assert f"{name} in {file}" in scene.leaks()
            file.unlink()
        pq.write_table(pa.table({"error": [secret] * 9}), file := scene.folder / "control.parquet")
        assert f"{name} in {file} decoded" in scene.leaks()
        file.unlink()
    assert not scene.leaks()


def test_a_store_that_closes_connections_leaks_nothing(scene):
    scene.store.fault = hang_up
    # A client sends requests to an address with a password unsigned.
    options = {"anon": True, **ONCE}
    file = scene.write_job("refused", scene.shards, f"s3://{scene.bucket}/refused", storage=options)
    code, messages = scene.run("run", file, "--debug")
    assert (code, "/refused/answers/" in messages) == (3, True), messages
    assert "***@127.0.0.1" in messages
    assert scene.leaks() == []


def test_an_input_whose_store_repeats_credentials_leaks_nothing(scene):
    scene.store.fault = refuse_credentials
    options = {"endpoint_url": scene.store.url, **ONCE}
    file = scene.write_job(
        "forbidden", f"s3://{scene.bucket}/shards/", scene.folder / "f", storage=options
    )
    code, messages = scene.run("run", file, "--debug")
    assert (code, "***" in messages) == (3, True), messages
    assert scene.leaks() == []


def test_an_endpoint_that_repeats_the_key_leaks_nothing(scene):
    scene.endpoint.fault = refuse_key
    engine = {"kind": "openai", "model": "any", "options": {"max_retries": 0}}
    file = scene.write_job("endpoint", scene.shards, scene.folder / "e", engine=engine)
    code, messages = scene.run("run", file, "--debug", "--json")
    assert (code, "AuthenticationError" in messages) == (3, True), messages
    assert scene.leaks() == []


def test_a_run_whose_webhook_fails_leaks_nothing(scene, moto_s3):
    uri = f"s3://{scene.bucket}"
    file = scene.write_job("good", f"{uri}/shards/", f"{uri}/good", storage=moto_s3.storage())
    code, messages = scene.run("run", file, "--debug", "--json")
    assert (code, "not notified" in messages) == (0, True), messages
    files = download(scene, moto_s3, "good")
    assert {"run.json", "report.html"} < {name.rpartition("/")[2] for name in files}
    assert scene.leaks() == []


def test_a_killed_run_and_its_own_cluster_leak_nothing(scene):
    scene.endpoint.fault = say_nothing
    scene.endpoint.bodies.clear()
    engine = {"kind": "openai", "model": "any"}
    file = scene.write_job("killed", scene.shards, scene.folder / "k", engine=engine)
    (scene.folder / "own").mkdir()
    own = {"RAY_TMPDIR": str(scene.folder / "own"), **scene.environment}
    with (scene.folder / "killed.out").open("wb") as out:
        command = [sys.executable, "-m", "jobs", "run", str(file), "--debug"]
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=out, stderr=out, env={**os.environ, **own}
        )
        while not scene.endpoint.bodies and process.poll() is None:
            time.sleep(0.05)
        process.kill()
        assert process.wait(10) == -signal.SIGKILL
    assert list((scene.folder / "own").rglob("raylet.out"))
    assert scene.leaks() == []


SECRET = "hunter2-hunter2"
"""A secret that is only in a job file, not in the environment."""

SMALLEST = "name: smallest\ninput: {uri: shards}\noutput: {uri: store}\n"


@pytest.mark.parametrize(
    ("line", "override"),
    [
        (f"storage: {{secret: {SECRET}}}", None),
        (f"storage: {{secret: [{SECRET}]}}", None),
        (f"storage: {{secret: {{of: {SECRET}}}}}", None),
        (f"storage: {{secret: {SECRET}, b: [}}", None),
        (f"storage: {{secret: *{SECRET}}}", None),
        (f"storage: {{secret: !{SECRET}}}", None),
        (f"storage: 'secret: {SECRET}'", None),
        (f"storage: {{endpoint_url: 'http://someone:{SECRET}@at@host'}}", None),
        (f"storage: {{s3: {{secret: {SECRET}}}}}", None),
        (f"storage: {{az: {{account_key: {SECRET}}}}}", None),
        (f"storage: {{az: {{sas_token: {SECRET}}}}}", None),
        (f"storage: {{abfs: {{client_secret: {SECRET}}}}}", None),
        (f"storage: {{az: {{credential: {SECRET}}}}}", None),
        (f"storage: {{az: {{connection_string: 'AccountName=a;AccountKey={SECRET}'}}}}", None),
        (f"storage: {{gs: {{token: {SECRET}}}}}", None),
        (f"storage: {{gs: {{token: {{private_key: {SECRET}}}}}}}", None),
        (f"storage: {{gs: {{token: [anon, {SECRET}]}}}}", None),
        (f"storage: {{hf: {{token: {SECRET}}}}}", None),
        (f"storage: {{az: {SECRET}}}", None),
        (f"storage: {{gs: {{project: a}}, secret: {SECRET}}}", None),
        (f"engine: {{options: {SECRET}}}", None),
        ("", f"storage.secret={SECRET}"),
        ("", f"storage.secret.of={SECRET}"),
        ("", f"storage.az.account_key={SECRET}"),
        ("", f"storage.gs.token={SECRET}"),
        ("", f"storage.key=[{SECRET}"),
        ("", f"storage.key: {SECRET}"),
        ("", f"storage.secret:{SECRET}"),
        ("", f"storage={SECRET}"),
    ],
)
def test_a_job_file_with_a_secret_is_refused_and_not_quoted(tmp_path, line, override):
    (path := tmp_path / "job.yaml").write_text(SMALLEST + line)
    with pytest.raises(ConfigError) as refused:
        load_job(path, [override] if override else [])
    shown = "".join(traceback.format_exception(refused.value))  # as --debug does
    assert SECRET not in shown
    assert "Traceback" in shown


@pytest.mark.parametrize("token", ["anon", "cloud", "google_default"])
def test_where_google_credentials_are_looked_for_is_no_secret(tmp_path, token):
    (path := tmp_path / "job.yaml").write_text(f"{SMALLEST}storage: {{gs: {{token: {token}}}}}")
    assert load_job(path).storage == {"gs": {"token": token}}


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("AZURE_STORAGE_ACCOUNT_KEY", "{0}", "key {0}!"),
        ("AZURE_STORAGE_CONNECTION_STRING", "AccountName=a;AccountKey={0};", "key {0}!"),
        ("AZURE_STORAGE_CONNECTION_STRING", "BlobEndpoint=x;AccountKey={0}", "all {1}!"),
        ("AZURE_STORAGE_CONNECTION_STRING", "SharedAccessSignature=sv=1&sig={0}", "at sig%3D{0}!"),
        ("AZURE_STORAGE_SAS_TOKEN", "?sv=2026&sig={0}&se=1", "signature {0}!"),
        ("AZURE_STORAGE_CLIENT_SECRET", "{0}", "client {0}!"),
        ("AZURE_CLIENT_SECRET", "{0}", "client {0}!"),
        ("OTHER", "none", "AccountName=a;AccountKey={0}!"),
        ("OTHER", "none", "https://a.blob.core.windows.net/c/b?se=1&sig={0}!"),
        ("OTHER", "none", "https://storage.googleapis.com/b/o?X-Goog-Signature={0}!"),
        ("OTHER", "none", "Authorization: Bearer ya29.{0}!"),
    ],
)
def test_credentials_of_azure_and_google_are_hidden_wherever_they_appear(
    monkeypatch, name, value, said
):
    secret = f"Zk{secrets.token_hex(12)}"
    monkeypatch.setenv(name, whole := value.format(secret))
    assert secret not in str(StorageError(said.format(secret, whole)))


def test_the_path_of_a_file_of_credentials_is_shown(monkeypatch):
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/secrets/google.json")
    assert "/secrets/google.json" in str(StorageError("no file /secrets/google.json"))


def test_a_cause_is_shown_without_the_secrets_in_it(monkeypatch):
    """Ray logs the error of a task with its causes, before our code sees it again."""
    monkeypatch.setenv("HF_TOKEN", token := f"hf+{secrets.token_hex(12)}")
    password = f"{secrets.token_hex(4)}@{secrets.token_hex(4)}"
    first = OSError(f"{token} at http://someone:{password}@host/part")
    then = ValueError(f"not with {quote(token)}")
    then.__cause__ = first
    with pytest.raises(StorageError) as failed, storage_errors("s3://bucket/part"):
        raise then
    shown = "".join(traceback.format_exception(failed.value))
    assert "OSError: *** at http://***@host/part" in shown
    assert "ValueError: not with ***" in shown


def test_a_record_that_an_endpoint_refuses_is_stored_without_its_password(monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://someone:pass-word@127.0.0.1:9/v1")
    engine = OpenAIEngine(job("a", "b", engine={"kind": "openai", "model": "any"}))
    asked = httpx.Request("POST", "http://127.0.0.1:9")
    refused = openai.BadRequestError("no", response=httpx.Response(400, request=asked), body=None)
    (address,) = engine._clients
    fault = engine._fault_of(refused, 0.0, address)
    assert isinstance(fault, GenerationError)
    assert "pass-word" not in str(fault)
    assert "127.0.0.1:9" in str(fault)
