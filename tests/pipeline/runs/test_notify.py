"""A webhook is notified once of how a run ended, and gets nothing that it should not."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from pipeline.answering.prepare import prepare
from pipeline.config.schema import Job, Notify
from pipeline.config.selection import EVERYTHING
from pipeline.core.errors import ConfigError
from pipeline.core.filesystem import Location
from pipeline.results.pages.summary import verdict
from pipeline.runs.notify import NotificationFailed, check_webhook, notify
from tests.support.jobs import job, job_file, rows, run, write_jsonl
from tests.support.proxy import Proxy

PATH = "T0000/B0000/planted-webhook-path"


@dataclass
class Receiver:
    """Keeps its messages; responds with the `statuses` in turn, then with 200."""

    proxy: Proxy
    statuses: list[int | None] = field(default_factory=list)
    requests: int = 0

    @property
    def url(self) -> str:
        return f"{self.proxy.url}/{PATH}"

    @property
    def messages(self) -> list[dict]:
        return [json.loads(body) for body in self.proxy.bodies]

    async def answer(self, request: web.Request, body: bytes) -> web.Response:
        self.requests += 1
        status = self.statuses.pop(0) if self.statuses else 200
        if status is None:
            await asyncio.sleep(3)  # the message has arrived, and the response is lost
            status = 200
        return web.Response(status=status, headers={"Retry-After": "0"})


@pytest.fixture
def receiver(monkeypatch) -> Iterator[Receiver]:
    proxy = Proxy("http://127.0.0.1:9").start()
    receiver = Receiver(proxy)
    proxy.fault = receiver.answer
    monkeypatch.setenv("OVERNIGHT_WEBHOOK", receiver.url)
    monkeypatch.setattr("pipeline.runs.notify.PAUSE_SECONDS", 0.01)
    yield receiver
    proxy.close()


@pytest.fixture(scope="module")
def task(tmp_path_factory) -> Job:
    """A run of six records, two of which fail."""
    folder = tmp_path_factory.mktemp("notify")
    lines = rows(range(6))
    for line in lines[:2]:
        line["recorded_answer"] = "Answer:::\nunsaid " + "word " * 400 + "\nAnswer:::"
    write_jsonl(folder / "shards/a.jsonl", lines)
    return job(folder / "shards", folder / "store", engine={"kind": "recorded"}, failure_budget=0.1)


@pytest.fixture(scope="module")
def ended(task) -> dict:
    return run(task)


def store_of(task: Job) -> Location:
    return prepare(task, EVERYTHING).store


def test_the_message_is_the_run_file_and_a_line(receiver, task, ended):
    assert notify(ended, store_of(task), Notify()) == "127.0.0.1"
    (message,) = receiver.messages
    assert message["run"] == json.loads(json.dumps(ended))
    assert "over budget" in message["text"]
    assert "6 records read: 4 answered, 2 failed" in message["text"]
    assert "unsaid" not in json.dumps(message)
    assert "herons at pond" not in json.dumps(message)


@pytest.mark.parametrize(
    ("more", "why", "left"),
    [
        (
            {"status": "stopped", "stopped_by": "deadline", "left": 1204, "left_seconds": 2410.0},
            "stopped at its deadline",
            "1,204 records left, about 40 min at this rate",
        ),
        (
            {"status": "stopped", "stopped_by": "budget", "left": 0, "left_seconds": 0.0},
            "stopped at its budget",
            "nothing left",
        ),
        (
            {"status": "interrupted", "stopped_by": "signal", "left": 1, "left_seconds": None},
            "interrupted",
            "1 record left",
        ),
        ({"status": "done", "stopped_by": None, "left": 0, "left_seconds": 0.0}, "done", ""),
        ({"status": "interrupted"}, "interrupted", ""),  # as earlier releases wrote it
    ],
)
def test_the_line_says_why_a_run_ended_and_what_is_left(more, why, left, receiver, task, ended):
    new = ("deadline", "stopped_by", "left", "left_seconds")
    run_ = {name: value for name, value in ended.items() if name not in new} | more
    notify(run_, store_of(task), Notify(format="slack"))
    (message,) = receiver.messages
    minutes = f"{ended['timings']['total'] / 60:,.1f} min"
    assert f": {why} after {minutes}{'; ' * bool(left)}{left}; 6 records" in message["text"]
    stopped = f"; {why}{', ' * bool(left)}{left}" if more.get("stopped_by") else " failed"
    assert verdict(run_).endswith(stopped)


def test_a_chat_gets_the_line_only(receiver, task, ended):
    notify(ended, store_of(task), Notify(format="slack"))
    (message,) = receiver.messages
    assert list(message) == ["text"]


def test_failed_answers_are_sent_if_the_job_asks_for_them(receiver, task, ended):
    notify(ended, store_of(task), Notify(answers=1))
    (message,) = receiver.messages
    (answer,) = message["answers"]
    assert answer["answer"].startswith("unsaid word")
    assert "word_count" in answer["failed_checks"]


def test_a_temporary_error_is_retried_until_the_message_arrives(receiver, task, ended):
    receiver.statuses = [503, 429, 500]
    notify(ended, store_of(task), Notify())
    assert receiver.requests == 4


def test_a_message_that_may_have_arrived_is_not_sent_again(receiver, task, ended, monkeypatch):
    monkeypatch.setattr("pipeline.runs.notify.TIMEOUT_SECONDS", 0.3)
    receiver.statuses = [None]
    with pytest.raises(NotificationFailed) as raised:
        notify(ended, store_of(task), Notify())
    assert receiver.requests == 1
    assert "planted" not in str(raised.value)


@pytest.mark.parametrize("status", [302, 400, 403, 404])
def test_a_refusal_is_not_retried_and_the_error_hides_the_path(status, receiver, task, ended):
    receiver.statuses = [status]
    with pytest.raises(NotificationFailed, match=rf"127\.0\.0\.1 answered {status}$") as raised:
        notify(ended, store_of(task), Notify())
    assert receiver.requests == 1
    assert "planted" not in str(raised.value)


def test_an_interrupted_run_does_not_retry(receiver, task, ended):
    receiver.statuses = [503]
    with pytest.raises(NotificationFailed):
        notify({**ended, "status": "interrupted"}, store_of(task), Notify())
    assert receiver.requests == 1


def test_a_connection_error_is_reported_without_the_path(task, ended, monkeypatch):
    monkeypatch.setenv("OVERNIGHT_WEBHOOK", f"http://127.0.0.1:9/{PATH}")
    with pytest.raises(NotificationFailed, match="NewConnectionError") as raised:
        notify({**ended, "status": "interrupted"}, store_of(task), Notify())
    assert "planted" not in str(raised.value)


def test_without_a_webhook_nothing_is_sent(task, ended):
    assert notify(ended, store_of(task), Notify()) is None


def test_a_malformed_address_is_refused_before_the_run(monkeypatch):
    monkeypatch.setenv("OVERNIGHT_WEBHOOK", "hooks.example.org/planted")
    with pytest.raises(ConfigError) as raised:
        check_webhook()
    assert "planted" not in str(raised.value)


def test_a_run_that_fails_is_reported_with_its_error(command, receiver, ray_cluster, tmp_path):
    write_jsonl(tmp_path / "shards/a.jsonl", rows(range(3)))
    down = {"kind": "openai", "model": "m", "options": {"base_url": "http://127.0.0.1:9/v1"}}
    down["options"]["max_retries"] = 0
    file = job_file(
        tmp_path / "job.yaml", job(tmp_path / "shards", tmp_path / "store", engine=down)
    )
    done = command("run", file)
    assert done.returncode == 3
    assert "notified  127.0.0.1" in done.stderr
    (message,) = receiver.messages
    assert message["run"]["status"] == "failed"
    assert "127.0.0.1:9" in message["run"]["error"]
    assert message["run"]["error"] in message["text"]
