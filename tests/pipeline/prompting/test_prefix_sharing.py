"""Runs on vLLM whose prompts share what they can, over the published records in pieces."""

import json
from itertools import pairwise
from pathlib import Path

import pytest

from pipeline.answering.prepare import prepare
from pipeline.config.schema import Output, PromptChoice
from pipeline.core.records import Record
from pipeline.prompting.cache_estimate import Forecast, forecast
from pipeline.run.execute import foresee
from tests.support.jobs import (
    BETTER_PROMPT,
    ROOT,
    Corpus,
    counts,
    ignore,
    job_file,
    overnight,
    run_on_cluster,
    stored,
    vllm_job,
    write_jsonl,
)
from tests.support.structured import as_row, dealt, structured

pytestmark = pytest.mark.usefixtures("ray_cluster")

PAPERS, QUESTIONS, SHARDS = 8, 20, 4
CACHE = {"block_size": 32, "num_gpu_blocks_override": 1024, "max_num_seqs": 16}
"""2,048 blocks of 16 tokens would be as much; vLLM's CPU build takes multiples of 32."""


@pytest.fixture(scope="module")
def papers(corpus: Corpus) -> list[list[Record]]:
    return [records[:QUESTIONS] for records in structured(corpus, PAPERS)]


@pytest.fixture(scope="module")
def night(papers, tiny_model, tmp_path_factory):
    """A job over all records but half of the questions of every other paper."""
    folder = tmp_path_factory.mktemp("prefixes")
    known = [r for n, held in enumerate(papers) for r in held[: QUESTIONS // (1 + n % 2)]]
    for at, shard in enumerate(dealt(known, SHARDS)):
        write_jsonl(folder / f"shards/{at}.jsonl", list(map(as_row, shard)))
    return vllm_job(
        tiny_model,
        folder / "shards",
        folder / "store",
        rows_per_file=50,
        prompt={"template": BETTER_PROMPT, "passages": "shared_first"},
        options=CACHE,
        sampling={"max_tokens": 8},
        attempts=1,
    )


@pytest.fixture(scope="module")
def foreseen(night) -> Forecast:
    prepared = prepare(night)
    return forecast(foresee(prepared, ignore).sample, night, prepared.source)


@pytest.fixture(scope="module")
def first_night(night, foreseen, ray_cluster, tmp_path_factory):
    """What its run left: the document and the rows."""
    document = run_on_cluster(night)
    return document, stored(_folder(night)).to_pylist()


def _folder(night) -> Path:
    return Path(night.output.uri)


def test_more_than_half_of_the_prompt_tokens_come_from_the_cache(first_night):
    document, _ = first_night
    assert document["prefix_cache"]["realised_share"] > 0.56


def test_run_and_plan_predicted_it(first_night, foreseen):
    found = first_night[0]["prefix_cache"]
    assert found["predicted_share"] == pytest.approx(found["realised_share"], abs=0.02)
    assert foreseen.share == pytest.approx(found["realised_share"], abs=0.02)
    assert foreseen.cache_tokens == 1024 * 32


def test_plan_says_what_a_better_order_would_give(night, foreseen, ray_cluster, tmp_path):
    worse = {"template": str(ROOT / "conf/prompts/context-first.md"), "passages": "as_given"}
    elsewhere = {"uri": str(tmp_path / "store")}
    file = job_file(
        tmp_path / "job.yaml",
        night.model_copy(update={"prompt": PromptChoice(**worse), "output": Output(**elsewhere)}),
    )
    done = overnight("plan", file, "--json", address=ray_cluster.address)
    found = json.loads(done.stdout)["prefix_cache"]
    assert found["share"] < found["words_first"] < found["both"]
    assert found["share"] < found["shared_first"] < found["both"]
    assert found["both"] == pytest.approx(foreseen.share, abs=0.05)  # by another template
    assert found["sampled"] == foreseen.sampled
    assert "with prompt.passages: shared_first" in " ".join(done.stderr.split())


def test_the_model_reads_every_passage_of_a_record_and_no_other(first_night, papers):
    known = {r.record_id: r for held in papers for r in held}
    for row in first_night[1]:
        (asked,) = [m["content"] for m in row["messages"] if m["role"] == "user"]
        record = known[row["record_id"]]
        assert all(passage.text.strip() in asked for passage in record.passages)
        longest = sum(len(p.text) + 20 for p in record.passages) + len(record.question)
        assert len(asked) < longest + 1000


def test_a_papers_records_stand_together_in_the_store(first_night):
    _, rows = first_night
    order = [row["paper_id"] for row in rows]
    changes = sum(a != b for a, b in pairwise(order))
    assert changes <= PAPERS + SHARDS


def test_new_questions_to_old_papers_are_the_only_work(first_night, night, papers):
    document, before = first_night
    every = [record for held in papers for record in held]
    new = [record for record in every if record.record_id not in {r["record_id"] for r in before}]
    folder = _folder(night).parent / "shards"
    write_jsonl(folder / "new.jsonl", list(map(as_row, new)))
    again = counts(run_on_cluster(night))
    assert again["current"] == document["counts"]["read"]
    assert again["read"] - again["current"] == len(new) == PAPERS * QUESTIONS // 4
