"""A webhook is told once how a run ended, and nothing that it should not know."""

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
from pipeline.run.notify import NotificationFailed, check_webhook, notify
from tests.support.jobs import job, job_file, overnight, rows, run, write_jsonl
from tests.support.proxy import Proxy

PATH = "T0000/B0000/planted-webhook-path"


@dataclass
class Receiver:
    """Keeps what it is told; answers as `answers` say, then with 200."""

    proxy: Proxy
    answers: list[int | None] = field(default_factory=list)
    asked: int = 0

    @property
    def url(self) -> str:
        return f"{self.proxy.url}/{PATH}"

    @property
    def told(self) -> list[dict]:
        return [json.loads(body) for body in self.proxy.bodies]

    async def answer(self, request: web.Request, body: bytes) -> web.Response:
        self.asked += 1
        status = self.answers.pop(0) if self.answers else 200
        if status is None:
            await asyncio.sleep(3)  # it has heard, and its reply is lost
            status = 200
        return web.Response(status=status, headers={"Retry-After": "0"})


@pytest.fixture
def receiver(monkeypatch) -> Iterator[Receiver]:
    proxy = Proxy("http://127.0.0.1:9").start()
    receiver = Receiver(proxy)
    proxy.fault = receiver.answer
    monkeypatch.setenv("OVERNIGHT_WEBHOOK", receiver.url)
    monkeypatch.setattr("pipeline.run.notify.PAUSE_SECONDS", 0.01)
    yield receiver
    proxy.close()


@pytest.fixture(scope="module")
def night(tmp_path_factory) -> Job:
    """A run of six records, two of which fail."""
    folder = tmp_path_factory.mktemp("night")
    lines = rows(range(6))
    for line in lines[:2]:
        line["recorded_answer"] = "Answer:::\nunsaid " + "word " * 400 + "\nAnswer:::"
    write_jsonl(folder / "shards/a.jsonl", lines)
    return job(folder / "shards", folder / "store", engine={"kind": "recorded"}, failure_budget=0.1)


@pytest.fixture(scope="module")
def ended(night) -> dict:
    return run(night)


def store_of(night: Job) -> Location:
    return prepare(night, EVERYTHING).store


def test_it_is_told_the_run_file_and_a_line(receiver, night, ended):
    assert notify(ended, store_of(night), Notify()) == "127.0.0.1"
    (told,) = receiver.told
    assert told["run"] == json.loads(json.dumps(ended))
    assert "over budget" in told["text"]
    assert "6 records read: 4 answered, 2 failed" in told["text"]
    assert "unsaid" not in json.dumps(told)
    assert "herons at pond" not in json.dumps(told)


def test_a_chat_is_told_the_line_alone(receiver, night, ended):
    notify(ended, store_of(night), Notify(format="slack"))
    (told,) = receiver.told
    assert list(told) == ["text"]


def test_failed_answers_are_told_where_the_job_asks_for_them(receiver, night, ended):
    notify(ended, store_of(night), Notify(answers=1))
    (told,) = receiver.told
    (answer,) = told["answers"]
    assert answer["answer"].startswith("unsaid word")
    assert "word_count" in answer["failed_checks"]


def test_what_passes_is_tried_again_and_told_once(receiver, night, ended):
    receiver.answers = [503, 429, 500]
    notify(ended, store_of(night), Notify())
    assert receiver.asked == 4


def test_what_the_receiver_may_have_taken_is_not_sent_again(receiver, night, ended, monkeypatch):
    monkeypatch.setattr("pipeline.run.notify.TIMEOUT_SECONDS", 0.3)
    receiver.answers = [None]
    with pytest.raises(NotificationFailed) as raised:
        notify(ended, store_of(night), Notify())
    assert receiver.asked == 1
    assert "planted" not in str(raised.value)


@pytest.mark.parametrize("status", [302, 400, 403, 404])
def test_a_receiver_that_refuses_is_asked_once_and_not_named_in_full(
    status, receiver, night, ended
):
    receiver.answers = [status]
    with pytest.raises(NotificationFailed, match=rf"127\.0\.0\.1 answered {status}$") as raised:
        notify(ended, store_of(night), Notify())
    assert receiver.asked == 1
    assert "planted" not in str(raised.value)


def test_an_interrupted_run_has_no_time_to_try_again(receiver, night, ended):
    receiver.answers = [503]
    with pytest.raises(NotificationFailed):
        notify({**ended, "status": "interrupted"}, store_of(night), Notify())
    assert receiver.asked == 1


def test_nobody_listens_and_the_error_says_so_without_the_address(night, ended, monkeypatch):
    monkeypatch.setenv("OVERNIGHT_WEBHOOK", f"http://127.0.0.1:9/{PATH}")
    with pytest.raises(NotificationFailed, match="NewConnectionError") as raised:
        notify({**ended, "status": "interrupted"}, store_of(night), Notify())
    assert "planted" not in str(raised.value)


def test_without_a_webhook_nobody_is_told(night, ended):
    assert notify(ended, store_of(night), Notify()) is None


def test_an_address_that_is_none_stops_the_run_before_it_starts(monkeypatch):
    monkeypatch.setenv("OVERNIGHT_WEBHOOK", "hooks.example.org/planted")
    with pytest.raises(ConfigError) as raised:
        check_webhook()
    assert "planted" not in str(raised.value)


def test_a_run_that_fails_is_told_of_with_its_error(receiver, ray_cluster, tmp_path):
    write_jsonl(tmp_path / "shards/a.jsonl", rows(range(3)))
    lost = {"kind": "openai", "model": "m", "options": {"base_url": "http://127.0.0.1:9/v1"}}
    lost["options"]["max_retries"] = 0
    file = job_file(
        tmp_path / "job.yaml", job(tmp_path / "shards", tmp_path / "store", engine=lost)
    )
    said = overnight("run", file, address=ray_cluster.address)
    assert said.returncode == 3
    assert "notified  127.0.0.1" in said.stderr
    (told,) = receiver.told
    assert told["run"]["status"] == "failed"
    assert "127.0.0.1:9" in told["run"]["error"]
    assert told["run"]["error"] in told["text"]
