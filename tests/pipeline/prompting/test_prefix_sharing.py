"""Runs on vLLM whose prompts share prefixes, over the published records in passages."""

import json
from itertools import pairwise
from pathlib import Path

import pytest

from pipeline.answering.prepare import prepare
from pipeline.config.schema import Output, PromptChoice
from pipeline.core.records import Record
from pipeline.prompting.cache_estimate import CacheEstimate, estimate_cache
from pipeline.runs.plan import Cause
from tests.support.jobs import (
    BETTER_PROMPT,
    ROOT,
    Corpus,
    job_file,
    overnight,
    plan,
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
def job(papers, tiny_model, tmp_path_factory):
    """A job over all records but half of the questions of every other paper."""
    folder = tmp_path_factory.mktemp("prefixes")
    known = [r for n, paper in enumerate(papers) for r in paper[: QUESTIONS // (1 + n % 2)]]
    for at, shard in enumerate(dealt(known, SHARDS)):
        write_jsonl(folder / f"shards/{at}.jsonl", list(map(as_row, shard)))
    return vllm_job(
        tiny_model,
        folder / "shards",
        folder / "store",
        output={
            "uri": str(folder / "store"),
            "rows_per_file": 50,
            "flush_seconds": 600,  # whole batches, however slow the machine is
        },
        prompt={"template": BETTER_PROMPT, "passages": "shared_first"},
        options=CACHE,
        sampling={"max_tokens": 8},
        attempts=1,
    )


@pytest.fixture(scope="module")
def estimated(job) -> CacheEstimate:
    prepared = prepare(job)
    return estimate_cache(plan(prepared.job).sample, job, prepared.source)


@pytest.fixture(scope="module")
def first_run(job, estimated, ray_cluster, tmp_path_factory):
    """The document and the rows of a run."""
    document = run_on_cluster(job)
    return document, stored(_folder(job)).to_pylist()


def _folder(job) -> Path:
    return Path(job.output.uri)


def test_more_than_half_of_the_prompt_tokens_come_from_the_cache(first_run):
    document, _ = first_run
    assert document["prefix_cache"]["realised_share"] > 0.56


def test_plan_and_run_predict_the_share(first_run, estimated):
    shares = first_run[0]["prefix_cache"]
    assert shares["predicted_share"] == pytest.approx(shares["realised_share"], abs=0.03)
    assert estimated.share == pytest.approx(shares["realised_share"], abs=0.02)
    assert estimated.cache_tokens == 1024 * 32


def test_plan_says_what_a_better_order_would_save(job, estimated, ray_cluster, tmp_path):
    worse = {"template": str(ROOT / "conf/prompts/context-first.md"), "passages": "as_given"}
    elsewhere = {"uri": str(tmp_path / "store")}
    file = job_file(
        tmp_path / "job.yaml",
        job.model_copy(update={"prompt": PromptChoice(**worse), "output": Output(**elsewhere)}),
    )
    command = overnight("plan", file, "--json", address=ray_cluster.address)
    estimate = json.loads(command.stdout)["prefix_cache"]
    assert estimate["share"] < estimate["words_first"] < estimate["both"]
    assert estimate["share"] < estimate["shared_first"] < estimate["both"]
    assert estimate["both"] == pytest.approx(estimated.share, abs=0.05)  # by another template
    assert estimate["sampled"] == estimated.sampled
    assert "with prompt.passages: shared_first" in " ".join(command.stderr.split())


def test_the_model_reads_every_passage_of_a_record_and_no_other(first_run, papers):
    by_id = {r.record_id: r for paper in papers for r in paper}
    for row in first_run[1]:
        (prompt,) = [m["content"] for m in row["messages"] if m["role"] == "user"]
        record = by_id[row["record_id"]]
        assert all(passage.text.strip() in prompt for passage in record.passages)
        longest = sum(len(p.text) + 20 for p in record.passages) + len(record.question)
        assert len(prompt) < longest + 1000


def test_a_papers_records_stand_together_in_the_store(first_run):
    _, rows = first_run
    order = [row["paper_id"] for row in rows]
    changes = sum(a != b for a, b in pairwise(order))
    assert changes <= PAPERS + SHARDS


def test_new_questions_to_old_papers_are_the_only_work(first_run, job, papers):
    document, before = first_run
    records = [record for paper in papers for record in paper]
    new = [record for record in records if record.record_id not in {r["record_id"] for r in before}]
    folder = _folder(job).parent / "shards"
    write_jsonl(folder / "new.jsonl", list(map(as_row, new)))
    assert len(before) == document["counts"]["read"]
    assert len(new) == PAPERS * QUESTIONS // 4
    assert plan(job).records == {Cause("new"): len(new)}
