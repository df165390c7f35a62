"""What would fail, told before it does."""

import pytest

from pipeline.config.schema import Job
from pipeline.run.doctor import Diagnosis, diagnose
from tests.support.jobs import free_port, job, rows, vllm_job, write_jsonl
from tests.support.models import CHAT_TEMPLATE, NO_SYSTEM, make_model

pytestmark = pytest.mark.usefixtures("ray_cluster")


@pytest.fixture
def shards(tmp_path):
    write_jsonl(tmp_path / "shards/a.jsonl", rows(range(20)))
    return tmp_path / "shards"


def findings(night: Job) -> dict[str, Diagnosis]:
    return {finding.name: finding for finding in diagnose(night)}


def wrong(night: Job) -> dict[str, str]:
    return {f.name: f.message for f in findings(night).values() if f.exit_code}


def test_a_job_that_would_run_has_nothing_wrong_with_it(shards, tmp_path, tiny_model):
    found = findings(vllm_job(tiny_model, shards, tmp_path / "store"))
    assert [f.message for f in found.values() if f.exit_code] == []
    assert "8,192 tokens of context, a chat template" in found["model"].message
    assert "20 of 20 sampled records make a prompt" in found["records"].message


def test_a_cluster_without_a_place_for_a_replica_is_told(shards, tmp_path, tiny_model):
    night = vllm_job(tiny_model, shards, tmp_path / "store", engine={"gpus_per_replica": 3})
    assert set(wrong(night)) == {"cluster"}
    assert "0 of 1 have a place in the cluster" in wrong(night)["cluster"]


def test_a_model_that_cannot_be_read_is_told(shards, tmp_path):
    told = wrong(vllm_job(tmp_path / "none", shards, tmp_path / "store"))
    assert "no such folder" in told["model"]
    assert "output" not in told


def test_a_context_too_short_for_the_prompts_is_told_with_the_way_out(shards, tmp_path, tiny_model):
    night = vllm_job(tiny_model, shards, tmp_path / "store", options={"max_model_len": 700})
    told = wrong(night)
    assert set(told) == {"records"}
    assert "too_long" in told["records"]
    assert "raise engine.options.max_model_len, or set input.overflow" in told["records"]


def test_a_context_that_holds_not_even_an_answer_is_told(shards, tmp_path, tiny_model):
    night = vllm_job(tiny_model, shards, tmp_path / "store", options={"max_model_len": 300})
    assert "300 tokens hold no prompt beside an answer of 548" in wrong(night)["records"]


def test_a_template_unfit_for_the_model_is_told(shards, tmp_path):
    make_model(tmp_path / "model", chat_template=NO_SYSTEM + CHAT_TEMPLATE)
    told = wrong(vllm_job(tmp_path / "model", shards, tmp_path / "store"))
    assert "the template makes system and user messages" in told["model"]


def test_an_endpoint_is_asked_for_the_model(shards, tmp_path, vllm_server):
    def night(model: str, url: str = vllm_server.url) -> Job:
        options = {"base_url": f"{url}/v1", "max_retries": 0}
        engine = {"kind": "openai", "model": model, "options": options}
        return job(shards, tmp_path / "store", engine=engine)

    assert wrong(night("tiny")) == {}
    assert "tinier is not at" in wrong(night("tinier"))["model"]
    assert "did you mean 'tiny'?" in wrong(night("tinier"))["model"]
    dead = f"http://127.0.0.1:{free_port()}"
    assert dead in wrong(night("tiny", dead))["model"]


def test_a_wrong_key_is_told(shards, tmp_path, vllm_server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "another")
    options = {"base_url": f"{vllm_server.url}/v1"}
    engine = {"kind": "openai", "model": "tiny", "options": options}
    assert "401" in wrong(job(shards, tmp_path / "store", engine=engine))["model"]


def test_addresses_that_are_in_the_clear_are_told_and_are_no_fault(shards, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://objects.example.org")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    links = findings(job(shards, tmp_path / "store"))["links"]
    assert links.exit_code == 0
    assert links.message.startswith("AWS_ENDPOINT_URL: http://")


def test_a_webhook_that_is_no_address_is_told_without_it(shards, tmp_path, monkeypatch):
    monkeypatch.setenv("OVERNIGHT_WEBHOOK", "hooks.example.org/T00/planted")
    told = wrong(job(shards, tmp_path / "store"))
    assert "OVERNIGHT_WEBHOOK" in told["links"]
    assert "planted" not in told["links"]


def test_a_store_where_nothing_is_overwritten_is_tried_again_and_again(shards, tmp_path):
    append = {"uri": str(tmp_path / "store"), "append_only": True}
    for _ in range(2):
        assert wrong(job(shards, "unused", output=append)) == {}
