"""The hub answers, refuses or is out of reach: one line that says which, within seconds."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import takewhile
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants

from pipeline.core.errors import EngineError
from pipeline.engines import hub
from pipeline.engines.hub import TIMEOUT_SECONDS, TRIES
from pipeline.engines.model_files import ModelSpec, context_tokens
from pipeline.runs.doctor import Diagnosis, diagnose
from tests.support.jobs import free_port, rows, vllm_job, write_jsonl

IMPORT_SECONDS = 15
"""Of transformers and the hub's client, on a busy machine."""

NAME = "herons/pond-8b"


class StandInHub(BaseHTTPRequestHandler):
    """Answers every request with the status and the error code that its server has."""

    def do_HEAD(self) -> None:
        status, code = self.server.reply  # type: ignore[attr-defined]
        self.server.asked += 1  # type: ignore[attr-defined]
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        for name in ("X-Repo-Commit", "ETag"):
            self.send_header(name, "a" * 40)
        self.send_header("Content-Length", "2")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(autouse=True)
def online(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """As a user's process, with an empty cache of the hub's files."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    hub._fault.cache_clear()
    yield
    hub._fault.cache_clear()


@contextmanager
def hub_that_answers(status: int, code: str, patched: pytest.MonkeyPatch) -> Iterator:
    server = ThreadingHTTPServer(("127.0.0.1", 0), StandInHub)
    server.reply, server.asked = (status, code), 0  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    use(f"http://127.0.0.1:{server.server_address[1]}", patched)
    try:
        yield server
    finally:
        server.shutdown()


def use(endpoint: str, patched: pytest.MonkeyPatch) -> None:
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    patched.setattr(constants, "ENDPOINT", endpoint)
    patched.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (403, "GatedRepo", "is a gated model; accept its terms on its page, and set HF_TOKEN"),
        (401, "GatedRepo", "is a gated model; accept its terms on its page, and set HF_TOKEN"),
        (401, "RepoNotFound", "no such model, or hides it; correct the name, or set HF_TOKEN"),
        (404, "RepoNotFound", "no such model, or hides it; correct the name, or set HF_TOKEN"),
        (404, "RevisionNotFound", "the hub has no revision v9; correct it"),
        (403, "", "the hub refuses the token in HF_TOKEN"),
    ],
)
def test_a_refusal_is_said_with_its_status_and_the_way_out(status, code, said, monkeypatch):
    with hub_that_answers(status, code, monkeypatch), pytest.raises(EngineError) as refused:
        hub.check_hub(NAME, "v9")
    message = str(refused.value)
    assert message.startswith(f"engine.model: {NAME}: ")
    assert said in message
    assert f"({status})" in message
    assert "\n" not in message


@pytest.mark.parametrize("reply", [(200, ""), (404, "EntryNotFound")])
def test_a_model_that_the_hub_hands_out_is_asked_for_once(reply, monkeypatch):
    with hub_that_answers(*reply, monkeypatch) as server:
        for _ in range(3):
            hub.check_hub(NAME, None)
        assert server.asked == 1


@contextmanager
def silent_port() -> Iterator[int]:
    """A host behind a firewall: connections open, and nothing ever comes."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@contextmanager
def closed_port() -> Iterator[int]:
    yield free_port()


@pytest.mark.parametrize("unreachable", [silent_port, closed_port])
def test_a_hub_out_of_reach_is_said_once_within_seconds(unreachable, monkeypatch, tmp_path):
    write_jsonl(tmp_path / "shards/a.jsonl", rows(range(3)))
    task = vllm_job(NAME, tmp_path / "shards", tmp_path / "store")
    with unreachable() as port:
        use(f"http://127.0.0.1:{port}", monkeypatch)
        began = time.monotonic()
        found = list(takewhile(lambda d: d.name != "links", diagnose(task)))
        assert time.monotonic() - began < TIMEOUT_SECONDS * TRIES + IMPORT_SECONDS
    (said,) = (d for d in found if "the hub cannot be reached" in d.message)
    assert said.exit_code == 3
    assert "check the network" in said.message
    assert {d.message for d in faults_after(said, found)} == {
        f"not checked, because of {said.name}"
    }


def faults_after(first: Diagnosis, found: list[Diagnosis]) -> list[Diagnosis]:
    return [d for d in found if d.exit_code and d is not first]


def test_a_model_in_the_cache_is_used_where_the_hub_is_out_of_reach(monkeypatch, tmp_path):
    snapshot = tmp_path / "cache" / f"models--{NAME.replace('/', '--')}"
    (snapshot / "snapshots" / ("a" * 40)).mkdir(parents=True)
    (snapshot / "refs").mkdir()
    (snapshot / "refs/main").write_text("a" * 40)
    config = snapshot / "snapshots" / ("a" * 40) / "config.json"
    config.write_text('{"max_position_embeddings": 4321}')
    use(f"http://127.0.0.1:{free_port()}", monkeypatch)
    began = time.monotonic()
    assert context_tokens(ModelSpec(NAME)) == 4321
    assert huggingface_hub.is_offline_mode()
    assert time.monotonic() - began < 10


def test_without_a_network_by_setting_the_cache_is_all_there_is(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(EngineError, match=r"HF_HUB_OFFLINE is set.* not in its cache here"):
        context_tokens(ModelSpec(NAME))
