"""Whole runs after a change: only what it affects is work, and a plan says why."""

import json
import re
from pathlib import Path

import pytest

from pipeline.answering.prepare import prepare
from pipeline.cluster.in_process import InProcess
from pipeline.config.schema import Answer
from pipeline.prompting.template import load_prompt
from pipeline.runs.execute import execute
from pipeline.runs.plan import Cause, _changed, provenance_of
from pipeline.runs.progress import RunProgress
from pipeline.store import run_file, runs
from pipeline.store.history import LastAnswer
from tests.support.jobs import counts, job, plan, rows, run, stored, vllm_job, write_jsonl

PAPERS, QUESTIONS = 5, 28
TEMPLATE = "---\nname: trial\nversion: {version}\n---\n{{{{ passages[0].text }}}}\n{text}\n"
PLAIN = "{{ question }}"


def library(papers: range = range(PAPERS)) -> list[dict]:
    """Every paper with every question."""
    (row,) = rows([0])
    return [
        {
            **row,
            "record_id": f"p{paper}_q{question}",
            "paper_id": f"p{paper}",
            "question_id": f"q{question}",
            "question": f"How many herons of kind {question} nested at pond {paper}?",
        }
        for paper in papers
        for question in range(QUESTIONS)
    ]


@pytest.fixture
def shards(tmp_path) -> Path:
    write_jsonl(tmp_path / "shards/a.jsonl", library())
    return tmp_path / "shards"


@pytest.fixture
def template(tmp_path) -> Path:
    path = tmp_path / "trial.md"
    path.write_text(TEMPLATE.format(version=1, text=PLAIN))
    return path


@pytest.fixture
def task(shards, tmp_path, template):
    def with_(**sections):
        return job(shards, tmp_path / "store", prompt=str(template), **sections)

    return with_


def test_an_edit_that_changes_the_prompts_of_three_questions_is_work_for_those_only(
    task, tmp_path, template
):
    assert counts(run(task())) == {"read": 140, "answered": 140}
    edited = "{{ question }}{% if question_id in ('q3', 'q5', 'q7') %} Say how many.{% endif %}"
    template.write_text(TEMPLATE.format(version=2, text=edited))
    work = plan(task(), examples=10)
    ((cause, records),) = work.records.items()
    assert (cause.kind, cause.changes, records) == ("changed", ("prompt",), 15)
    assert (cause.before.prompt_name, cause.before.prompt_version) == ("trial", "1")
    assert len(work.examples) == 10
    assert all(e.prompt.messages[0].content.endswith("Say how many.") for e in work.examples)
    before = stored(tmp_path / "store")
    assert counts(run(task())) == {"read": 140, "answered": 15, "current": 125}
    new = sorted(stored(tmp_path / "store").to_pylist(), key=lambda row: row["written_at"])[-15:]
    assert {row["question_id"] for row in new} == {"q3", "q5", "q7"}
    assert stored(tmp_path / "store").num_rows == before.num_rows + 15
    assert counts(run(task())) == {"read": 140, "current": 140}


def test_a_comment_in_a_template_is_no_work(task, template):
    run(task())
    template.write_text(TEMPLATE.format(version=9, text="{# to be kept short #}" + PLAIN))
    assert not plan(task()).records
    assert counts(run(task())) == {"read": 140, "current": 140}


@pytest.mark.parametrize(
    ("sections", "changes"),
    [
        ({"engine": {"revision": "r2"}}, ("model_revision",)),
        ({"engine": {"model": "other"}, "sampling": {"top_p": 0.5}}, ("model", "sampling")),
        ({"engine": {"reasoning": "off"}}, ("reasoning",)),
        ({"engine": {"reasoning": "off"}, "sampling": {"seed": 1}}, ("sampling", "reasoning")),
    ],
)
def test_another_model_revision_or_setting_is_work_for_all(task, sections, changes):
    run(task())
    ((cause, records),) = plan(task(**sections)).records.items()
    assert (cause.kind, cause.changes, records) == ("changed", changes, 140)
    assert counts(run(task(**sections))) == {"read": 140, "answered": 140}


VLLM: list[tuple[dict, tuple[str, ...]]] = [
    ({"adapter": "cautious"}, ("adapter",)),
    ({"chat_template_kwargs": {"brief": True}}, ("chat_template_kwargs",)),
    ({"options": {"chat_template": "{{ messages }}"}}, ("chat_template",)),
    ({"options": {"dtype": "half"}, "generation_options": ["dtype"]}, ("options",)),
    ({"revision": "r2", "reasoning": "off"}, ("model_revision", "reasoning")),
    ({"options": {"dtype": "half"}}, ("decoding",)),
]


@pytest.mark.parametrize(("engine", "changes"), VLLM)
def test_a_plan_names_what_has_changed_about_the_engine(engine, changes):
    source = load_prompt("verbatim", Answer())
    jobs = (vllm_job("m", engine=e, options=e.get("options")) for e in ({}, engine))
    before, now = (provenance_of(job, source) for job in jobs)
    cause = _changed(LastAnswer(b"key", before, "part"), b"key", now, "decoding")
    assert cause == Cause("changed", changes, before)


def test_a_new_shard_is_the_only_work(task, shards):
    run(task())
    write_jsonl(shards / "b.jsonl", library(range(PAPERS, PAPERS + 1)))
    assert plan(task()).records == {Cause("new"): 28}
    assert counts(run(task())) == {"read": 168, "answered": 28, "current": 140}


@pytest.fixture
def cut(tmp_path):
    """Recorded answers, some of which break off and one of which echoes its frame."""
    good, broken, echo = (
        "Answer:::\nThere were three.\nAnswer:::",
        "There were herons at the",
        "There were three (provide your answer to query) of them.",
    )
    answers = [broken, broken, echo, *[good] * 7]
    recorded = zip(rows(range(10)), answers, strict=True)
    lines = [{**row, "recorded_answer": answer} for row, answer in recorded]
    write_jsonl(tmp_path / "shards/a.jsonl", lines)
    return job(tmp_path / "shards", tmp_path / "store", engine={"kind": "recorded"})


def test_failed_answers_are_retried_on_request_all_or_by_check(cut):
    assert counts(run(cut)) == {"read": 10, "answered": 7, "failed": 3}
    assert counts(run(cut)) == {"read": 10, "current": 10, "current_failed": 3}
    assert counts(run(cut, retry=["failed:complete"])) == {
        "read": 10,
        "failed": 2,
        "current": 8,
        "current_failed": 1,
    }
    assert counts(run(cut, retry=["failed"])) == {"read": 10, "failed": 3, "current": 7}
    ((cause, records),) = plan(cut, retry=["failed:echo"]).records.items()
    assert (cause.kind, records) == ("failed_before", 1)


def test_a_new_recorded_answer_is_work_and_named_as_the_cause(cut, tmp_path):
    run(cut)
    lines = [{**row, "recorded_answer": "None nested."} for row in rows(range(4))]
    write_jsonl(tmp_path / "shards/a.jsonl", [*lines, *rows(range(4, 10))])
    causes = {cause.changes: n for cause, n in plan(cut).records.items()}
    assert causes == {("recorded_answer",): 10}


def test_only_selected_papers_are_read(task):
    assert counts(run(task(), only=["paper_id=p1", "paper_id=p3"])) == {
        "read": 56,
        "answered": 56,
    }
    assert counts(run(task(), only=["paper_id=p1", "question_id=q2"])) == {
        "read": 1,
        "current": 1,
    }
    assert counts(run(task())) == {"read": 140, "answered": 84, "current": 56}


def test_a_limit_bounds_the_work_and_the_accounts_balance(task):
    assert counts(run(task(), limit=20)) == {"read": 20, "answered": 20}
    second = counts(run(task(), limit=30))
    assert second["answered"] == 30
    assert counts(run(task())) == {"read": 140, "answered": 90, "current": 50}


def test_rejects_are_written_again_on_request(task, shards, tmp_path):
    (shards / "broken.jsonl").write_bytes(b'{"record_id": "x"\n')
    for selected in ({}, {}, {"retry": ["rejected"]}):
        assert run(task(), **selected)["rejects"] == {"invalid_json": 1}
    assert stored(tmp_path / "store", "rejects").num_rows == 2


def test_a_running_run_without_heartbeats_is_not_active(task, tmp_path):
    run_id = run(task())["run_id"]
    path = tmp_path / f"store/runs/{run_id}/run.json"
    document = json.loads(path.read_text())
    del document["seen_at"], document["command"]
    path.write_text(json.dumps({**document, "status": "running"}))
    store = prepare(task()).store
    assert runs.active_runs(store) == []
    assert runs.last_measured(store, task()) is None  # an engine without tokens has no rate


def test_a_run_is_active_while_it_lasts(task, tmp_path, monkeypatch):
    monkeypatch.setattr(run_file, "RUN_HEARTBEAT_SECONDS", 0.05)
    prepared = prepare(task())
    active = set()

    def look(progress: RunProgress) -> None:
        active.update(runs.active_runs(prepared.store))

    first = execute(prepared, InProcess(), [look])
    assert active == {first["run_id"]}
    assert runs.active_runs(prepared.store) == []
    assert re.fullmatch(r"\d{8}T\d{6}Z-[0-9a-f]{4}", first["run_id"])
