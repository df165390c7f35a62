"""Planted secrets are in no file, line or page that a command leaves, however it ends.

A cluster of its own has them in its environment, as clusters have; its session folder, with all
that Ray logs, is looked through as well, and so are the tables of a store, decoded.
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
"""A client that tries once: what it gives up on is what is looked at."""


def planted_environment(store: Proxy, endpoint: Proxy, webhook: Proxy) -> dict[str, str]:
    """Values of the shapes that services give out, each of them new, with signs that are quoted in
    addresses; and addresses with a password."""
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
    """What must not be seen, by what it is: of an address, its password or its path."""
    kept = {name: value for name, value in environment.items() if "://" not in value}
    password = environment["AWS_ENDPOINT_URL"].split("@")[0].rpartition(":")[2]
    return kept | {"webhook": environment["OVERNIGHT_WEBHOOK"][-20:], "password": password}


def forms(secret: str) -> set[bytes]:
    """A secret as it may stand in a file: as it is, in an address, in JSON, in base 64."""
    whole = base64.b64encode(secret.encode()).rstrip(b"=")
    # The last sign of what is encoded depends on what follows it.
    return {
        secret.encode(),
        quote(secret, safe="").encode(),
        json.dumps(secret)[1:-1].replace("/", "\\/").encode(),
        whole[:-1],
        base64.b64encode(f"someone:{secret}".encode()).rstrip(b"=")[:-1],
    }


@dataclass
class Scene:
    """A cluster with secrets, a folder with all that it and its jobs write, and what was said."""

    address: str
    folder: Path
    environment: dict[str, str]
    store: Proxy
    endpoint: Proxy
    bucket: str
    said: dict[str, str] = field(default_factory=dict)

    def night(self, name: str, uri: object, store: object, **sections: Any) -> Path:
        return job_file(self.folder / f"{name}.yaml", job(str(uri), str(store), 20, **sections))

    @property
    def shards(self) -> Path:
        return self.folder / "shards"

    def run(self, *arguments: object) -> tuple[int, str]:
        """Exit code and standard error, which is kept with standard output to be looked through."""
        done = overnight(*arguments, address=self.address, **self.environment)
        name = " ".join(map(str, arguments))
        self.said |= {f"{name}, stdout": done.stdout, f"{name}, stderr": done.stderr}
        return done.returncode, done.stderr

    def leaks(self) -> list[str]:
        """Where which secret is."""
        looked = {
            form: name for name, s in hidden_in(self.environment).items() for form in forms(s)
        }
        places = {**{n: said.encode() for n, said in self.said.items()}, **contents(self.folder)}
        return sorted(
            f"{name} in {place}"
            for place, content in places.items()
            for name in {looked[form] for form in looked if form in content}
        )


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of every file, and of Parquet its decoded text besides."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            found[str(path)] = path.read_bytes()
            if path.suffix == ".parquet":
                found[f"{path} decoded"] = repr(pq.read_table(path).to_pylist()).encode()
    return found


@pytest.fixture(scope="module")
def scene(moto_s3) -> Iterator[Scene]:
    folder = Path(tempfile.mkdtemp(prefix="s", dir="/tmp"))  # paths of sockets are short
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
    """moto takes any key."""
    keys = {"key": "any", "secret": "any", "endpoint_url": server.endpoint}
    return fsspec.filesystem("s3", **keys, skip_instance_cache=True)


def take_store(scene: Scene, server: S3, folder: str) -> list[str]:
    """Copies a folder of the bucket to where all else is that a scene leaves."""
    client = any_client(server)
    names = client.find(f"{scene.bucket}/{folder}")
    for name in names:
        (file := scene.folder / "taken" / name).parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(client.cat_file(name))
    return names


async def hang_up(request: web.Request, body: bytes) -> web.Response | None:
    """On who writes answers; a client reports it with the address, and so with its password."""
    if "/answers/" in request.path and request.method in ("PUT", "POST") and request.transport:
        request.transport.abort()
        return web.Response(status=503)
    return None


async def refuse_key(request: web.Request, body: bytes) -> web.Response:
    """An endpoint that repeats what it was sent."""
    said = f"not allowed: {dict(request.headers)}"
    return web.json_response({"error": {"message": said}}, status=401)


async def refuse_credentials(request: web.Request, body: bytes) -> web.Response:
    """An object store that does; those of the world name the key at least."""
    said = f"{request.headers['Authorization']} {request.headers['X-Amz-Security-Token']}"
    text = f"<Error><Code>AccessDenied</Code><Message>{said}</Message></Error>"
    return web.Response(status=403, text=text, content_type="application/xml")


async def refuse_message(request: web.Request, body: bytes) -> web.Response:
    """A receiver of webhooks that repeats where it was called."""
    return web.Response(status=403, text=f"nobody at {request.url}")


async def say_nothing(request: web.Request, body: bytes) -> web.Response:
    await asyncio.sleep(60)
    return web.Response(status=503)


def test_a_planted_secret_would_be_found_in_whatever_form_it_stands(scene):
    for name, secret in hidden_in(scene.environment).items():
        for form in forms(secret):
            (file := scene.folder / "control").write_bytes(b"..\0" + form + b"\0..")
            assert f"{name} in {file}" in scene.leaks()
            file.unlink()
        pq.write_table(pa.table({"error": [secret] * 9}), file := scene.folder / "control.parquet")
        assert f"{name} in {file} decoded" in scene.leaks()
        file.unlink()
    assert not scene.leaks()


def test_not_by_a_store_that_hangs_up_on_a_task(scene):
    scene.store.fault = hang_up
    # A client signs no request to an address with a password; it sends it unsigned.
    options = {"anon": True, **ONCE}
    file = scene.night("refused", scene.shards, f"s3://{scene.bucket}/refused", storage=options)
    code, said = scene.run("run", file, "--debug")
    assert (code, "/refused/answers/" in said) == (3, True), said
    assert "***@127.0.0.1" in said
    assert scene.leaks() == []


def test_not_by_an_input_whose_store_repeats_the_credentials(scene):
    scene.store.fault = refuse_credentials
    options = {"endpoint_url": scene.store.url, **ONCE}
    file = scene.night(
        "forbidden", f"s3://{scene.bucket}/shards/", scene.folder / "f", storage=options
    )
    code, said = scene.run("run", file, "--debug")
    assert (code, "***" in said) == (3, True), said
    assert scene.leaks() == []


def test_not_by_an_endpoint_that_repeats_the_key(scene):
    scene.endpoint.fault = refuse_key
    engine = {"kind": "openai", "model": "any", "options": {"max_retries": 0}}
    file = scene.night("endpoint", scene.shards, scene.folder / "e", engine=engine)
    code, said = scene.run("run", file, "--debug", "--json")
    assert (code, "AuthenticationError" in said) == (3, True), said
    assert scene.leaks() == []


def test_not_by_a_run_that_succeeds_and_a_webhook_that_does_not(scene, moto_s3):
    uri = f"s3://{scene.bucket}"
    file = scene.night("good", f"{uri}/shards/", f"{uri}/good", storage=moto_s3.storage())
    code, said = scene.run("run", file, "--debug", "--json")
    assert (code, "not notified" in said) == (0, True), said
    taken = take_store(scene, moto_s3, "good")
    assert {"run.json", "report.html"} < {name.rpartition("/")[2] for name in taken}
    assert scene.leaks() == []


def test_not_by_a_run_that_is_killed_with_its_own_cluster(scene):
    scene.endpoint.fault = say_nothing
    scene.endpoint.bodies.clear()
    engine = {"kind": "openai", "model": "any"}
    file = scene.night("killed", scene.shards, scene.folder / "k", engine=engine)
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
"""Nobody told of it: it stands in a job file alone."""

SMALLEST = "name: night\ninput: {uri: shards}\noutput: {uri: store}\n"


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
        (f"engine: {{options: {SECRET}}}", None),
        ("", f"storage.secret={SECRET}"),
        ("", f"storage.secret.of={SECRET}"),
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


def test_a_cause_is_shown_without_the_secrets_in_it(monkeypatch):
    """Ray logs an error of a task with its causes, before anything of ours sees it again."""
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
    verdict = engine._verdict(refused, 0.0)
    assert isinstance(verdict, GenerationError)
    assert "pass-word" not in str(verdict)
    assert "127.0.0.1:9" in str(verdict)
