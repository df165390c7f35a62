"""The doctor finds what would fail, before a run does."""

import pytest

from pipeline.config.schema import Job
from pipeline.runs.doctor import Diagnosis, diagnose
from tests.support.jobs import free_port, job, rows, vllm_job, write_jsonl
from tests.support.models import CHAT_TEMPLATE, NO_SYSTEM, make_model

pytestmark = pytest.mark.usefixtures("ray_cluster")


@pytest.fixture
def shards(tmp_path):
    write_jsonl(tmp_path / "shards/a.jsonl", rows(range(20)))
    return tmp_path / "shards"


def diagnoses(task: Job) -> dict[str, Diagnosis]:
    return {diagnosis.name: diagnosis for diagnosis in diagnose(task)}


def faults(task: Job) -> dict[str, str]:
    return {d.name: d.message for d in diagnoses(task).values() if d.exit_code}


def test_a_job_that_would_run_has_nothing_wrong_with_it(shards, tmp_path, tiny_model):
    every = diagnoses(vllm_job(tiny_model, shards, tmp_path / "store"))
    assert [d.message for d in every.values() if d.exit_code] == []
    assert "8,192 tokens of context, a chat template" in every["model"].message
    assert "20 of 20 sampled records make a prompt" in every["records"].message


def test_a_cluster_without_room_for_a_replica_is_reported(shards, tmp_path, tiny_model):
    task = vllm_job(tiny_model, shards, tmp_path / "store", engine={"gpus_per_replica": 3})
    assert set(faults(task)) == {"cluster"}
    assert "0 of 1 have a place in the cluster" in faults(task)["cluster"]


def test_a_model_that_cannot_be_read_is_reported(shards, tmp_path):
    wrong = faults(vllm_job(tmp_path / "none", shards, tmp_path / "store"))
    assert "no such folder" in wrong["model"]
    assert "output" not in wrong


def test_a_context_too_short_for_the_prompts_is_reported_with_a_remedy(
    shards, tmp_path, tiny_model
):
    task = vllm_job(tiny_model, shards, tmp_path / "store", options={"max_model_len": 700})
    wrong = faults(task)
    assert set(wrong) == {"records"}
    assert "too_long" in wrong["records"]
    assert "raise engine.options.max_model_len, or set input.overflow" in wrong["records"]


def test_a_context_too_short_for_an_answer_is_reported(shards, tmp_path, tiny_model):
    task = vllm_job(tiny_model, shards, tmp_path / "store", options={"max_model_len": 300})
    assert "300 tokens hold no prompt beside an answer of 548" in faults(task)["records"]


def test_a_template_that_the_model_does_not_support_is_reported(shards, tmp_path):
    make_model(tmp_path / "model", chat_template=NO_SYSTEM + CHAT_TEMPLATE)
    wrong = faults(vllm_job(tmp_path / "model", shards, tmp_path / "store"))
    assert "the template makes system and user messages" in wrong["model"]


def test_an_endpoint_that_does_not_answer_is_reported(shards, tmp_path):
    options = {"base_url": f"http://127.0.0.1:{free_port()}/v1", "max_retries": 0}
    engine = {"kind": "openai", "model": "tiny", "options": options}
    assert options["base_url"] in faults(job(shards, tmp_path / "store", engine=engine))["model"]


def test_unencrypted_addresses_are_listed_and_are_no_fault(shards, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://objects.example.org")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    links = diagnoses(job(shards, tmp_path / "store"))["links"]
    assert links.exit_code == 0
    assert links.message.startswith("AWS_ENDPOINT_URL: http://")
    options = {"base_url": ["https://one.example.org/v1", "http://other.example.org/v1"]}
    engine = {"kind": "openai", "model": "m", "options": options}
    of_several = diagnoses(job(shards, tmp_path / "store", engine=engine))["links"]
    assert of_several.message.startswith("engine.options.base_url, AWS_ENDPOINT_URL: http://")


def test_a_malformed_webhook_is_reported_without_its_value(shards, tmp_path, monkeypatch):
    monkeypatch.setenv("OVERNIGHT_WEBHOOK", "hooks.example.org/T00/planted")
    wrong = faults(job(shards, tmp_path / "store"))
    assert "OVERNIGHT_WEBHOOK" in wrong["links"]
    assert "planted" not in wrong["links"]


def test_an_append_only_store_can_be_examined_more_than_once(shards, tmp_path):
    append = {"uri": str(tmp_path / "store"), "append_only": True}
    for _ in range(2):
        assert faults(job(shards, "unused", output=append)) == {}
