"""Whole runs on vLLM over the published records: generated, checked, repaired, and kept."""

import json
import shutil
from pathlib import Path

import pytest

from pipeline.core.filesystem import Storage
from tests.support.jobs import Corpus, rows, run, run_on_cluster, stored, vllm_job, write_jsonl

pytestmark = pytest.mark.usefixtures("ray_cluster")

MODEL = "s3://models/tiny"
MAX_WORDS = 40
RECORDS = 40

ENDINGS = list(range(300, 325))
"""Tokens that end an answer: 25 of 2,000 equally likely ones, so after some eighty tokens."""


@pytest.fixture(scope="session")
def records(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    for path in sorted(corpus.records.iterdir())[:RECORDS]:
        shutil.copy(path, folder)
    return folder


@pytest.fixture(scope="session")
def a_run(records, tiny_model, rclone_s3, ray_cluster, tmp_path_factory) -> tuple[dict, list[dict]]:
    """Document and rows of a run with three attempts each, with a model from an object store."""
    store = tmp_path_factory.mktemp("generated")
    models = Storage(rclone_s3.storage()).at(MODEL)
    models.fs.mkdir(models.path.partition("/")[0])
    models.fs.put(f"{tiny_model}/", f"{models.path}/", recursive=True)
    task = vllm_job(
        MODEL,
        records,
        store,
        storage=rclone_s3.storage(),
        options={"max_num_seqs": 64},
        answer={"max_words": MAX_WORDS},
        sampling={"max_tokens": 120, "stop_token_ids": ENDINGS},
        attempts=3,
    )
    return run_on_cluster(task), stored(store).to_pylist()


@pytest.fixture
def answers(a_run) -> list[dict]:
    return a_run[1]


def test_every_row_records_its_engine_model_and_tokens(a_run):
    import vllm

    document, answers = a_run
    assert document["counts"]["read"] == len(answers) == RECORDS
    for row in answers:
        assert (row["engine"], row["engine_version"]) == ("vllm", vllm.__version__)
        assert row["model"] == MODEL
        for attempt in row["attempts"]:
            assert attempt["prompt_tokens"] > 300
            assert attempt["completion_tokens"] > 0
            assert attempt["seconds"] > 0
        for unit in ("prompt_tokens", "completion_tokens"):
            assert row[unit] == sum(attempt[unit] for attempt in row["attempts"])
    sums = document["sums"]
    assert sums["prompt_tokens"] == sum(row["prompt_tokens"] for row in answers)
    assert sums["completion_tokens"] == sum(row["completion_tokens"] for row in answers)
    # Instructions come first, so all prompts share at least those.
    assert 0 < sums["cached_tokens"] < sums["prompt_tokens"]


def test_the_run_file_lists_the_replica(a_run):
    import vllm

    (replica,) = a_run[0]["replicas"]
    assert (replica["state"], replica["engine_version"]) == ("answering", vllm.__version__)


def test_every_attempt_is_kept_and_the_best_is_the_answer(answers):
    assert {len(row["attempts"]) for row in answers} == {1, 2, 3}
    for row in answers:
        *earlier, last = row["attempts"]
        assert all(attempt["failed_checks"] for attempt in earlier)
        assert (row["status"] == "answered") == (not last["failed_checks"])
        assert row["completion"] in {attempt["completion"] for attempt in row["attempts"]}
        failed = [a["failed_checks"] for a in row["attempts"] if "empty" not in a["failed_checks"]]
        if row["answer"]:  # an empty answer is worst; else fewer failed checks are better
            assert len(row["failed_checks"]) == min(map(len, failed))


def test_a_repair_continues_the_conversation_and_uses_the_cache(answers):
    repaired = [
        row
        for row in answers
        if row["attempts"][0]["failed_checks"] == ["word_count"] and len(row["attempts"]) > 1
    ]
    assert repaired
    for row in repaired:
        first, second, *_ = row["attempts"]
        assert second["prompt_tokens"] > first["prompt_tokens"] + first["completion_tokens"]
        assert second["cached_tokens"] > 0


def test_prompts_that_are_too_long_are_rejected_with_both_lengths(tmp_path, tiny_model):
    """No model is loaded, as there is no work for it."""
    (row,) = rows([1])
    shards = [{**row, "passages": ["Herons everywhere. " * 3000]}]
    write_jsonl(tmp_path / "shards/a.jsonl", shards)
    task = vllm_job(tiny_model, tmp_path / "shards", tmp_path / "store")
    for _ in range(2):
        assert run(task)["rejects"] == {"too_long": 1}
    (reject,) = stored(tmp_path / "store", "rejects").to_pylist()
    assert reject["record_id"] == row["record_id"]
    assert "a context of 8,192 leaves 7,644 beside an answer of 548" in reject["detail"]
    assert json.loads(reject["payload"])["question"] == row["question"]
