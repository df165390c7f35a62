"""`plan` proposes a context that holds every prompt and answer, and none that would not."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from pipeline.config.schema import Job
from pipeline.runs.context import STEP
from tests.support.jobs import job_file, rows, vllm_job, write_jsonl

CONTEXT = 8192
"""Of the model of these tests."""

Command = Callable[..., CompletedProcess[str]]


@pytest.fixture
def planned(command: Command, tmp_path: Path, tiny_model: Path) -> Callable[..., dict[str, Any]]:
    """The document of a plan over records with these numbers of passages."""

    def plan(passages: list[int], *overrides: str, **sections: Any) -> dict[str, Any]:
        many = rows(range(len(passages)))
        for row, count in zip(many, passages, strict=True):
            row["passages"] = row["passages"][:1] * count
        write_jsonl(tmp_path / "shards/a.jsonl", many)
        task = vllm_job(tiny_model, tmp_path / "shards", tmp_path / "store", **sections)
        done = command("plan", _file(tmp_path, task), "--json", *overrides)
        assert done.returncode == 0, done.stderr
        return {**json.loads(done.stdout), "said": done.stderr}

    return plan


def _file(folder: Path, task: Job) -> Path:
    return job_file(folder / "job.yaml", task)


@pytest.mark.parametrize("seed", range(4))
def test_a_proposed_context_rejects_nothing_and_a_step_less_might_cut_an_answer(planned, seed):
    chance = random.Random(seed)
    passages = [chance.randint(1, 150) for _ in range(30)]
    sampling = {"max_tokens": chance.choice([200, 600, 1500])}
    context = planned(passages, sampling=sampling)["context"]
    needed = context["longest_prompt"] + sampling["max_tokens"]
    assert needed <= context["would_do"] < needed + STEP
    assert context["would_do"] % STEP == 0
    limit = f"sampling.max_tokens={sampling['max_tokens']}"
    again = planned(passages, limit, f"engine.options.max_model_len={context['would_do']}")
    assert (again["work"], again["rejected"]) == (30, 0)


def test_the_proposal_is_said_in_a_line_with_what_is_set(planned):
    own = planned([1, 2, 3])
    longest, would_do = own["context"]["longest_prompt"], own["context"]["would_do"]
    line = f"longest prompt {longest:,} tokens (of 3 counted); engine.options.max_model_len: "
    assert f"{line}{would_do} would do (the model has {CONTEXT})" in _unwrapped(own["said"])
    options = {"max_model_len": 5000}
    assert "would do (5000 is set)" in _unwrapped(planned([1, 2, 3], options=options)["said"])


def _unwrapped(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize(
    ("passages", "sections"),
    [
        ([1, 2, 700], {}),  # one is too long as it is
        ([1, 2, 3], {"options": {"max_model_len": 2048}}),  # no less holds an answer
        ([1, 2, 3], {"sampling": {"max_tokens": 8000}}),
    ],
)
def test_nothing_is_proposed_where_all_may_be_needed(planned, passages, sections):
    assert planned(passages, **sections)["context"]["would_do"] is None


def test_the_longest_of_all_prompts_is_counted_even_outside_the_sample(planned, monkeypatch):
    whole = planned([1, 90, 2, 3])["context"]
    monkeypatch.setattr("pipeline.runs.plan.SAMPLE_BYTES", 1)
    few = planned([1, 90, 2, 3])["context"]
    assert few["counted"] == 1
    assert few["longest_prompt"] == whole["longest_prompt"]


def test_gpus_are_counted_over_all_replicas(planned):
    engine = {"replicas": 3, "gpus_per_replica": 4}
    options = {"pipeline_parallel_size": 2}
    document = planned([1], engine=engine, options=options)
    assert document["gpus"] == 12
    assert "GPUs: 12 (4 for each of 3: tensor 2 × pipeline 2)" in _unwrapped(document["said"])
