"""What doctor sees of an input: faults, each once, and ids that records share."""

from pathlib import Path

import pytest

from pipeline.config.schema import Job
from pipeline.runs import doctor
from pipeline.runs.doctor import Diagnosis, diagnose
from tests.support.jobs import job, rows, run, write_jsonl

WRONG = {"doi": "10.1/x", "title": "Kelp", "query": "Who?", "contexts": ["The keeper."]}


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch):
    """Nothing here is about the cluster, which takes seconds to start."""
    monkeypatch.setattr(doctor, "_cluster", lambda _: "not looked at")


def records_of(task: Job) -> Diagnosis:
    return next(d for d in diagnose(task) if d.name == "records")


def test_an_input_of_which_most_records_are_rejects_is_at_fault(tmp_path):
    write_jsonl(tmp_path / "in/a.jsonl", [*rows(range(7)), *[WRONG] * 13])
    task = job(tmp_path / "in", tmp_path / "store")
    found = records_of(task)
    assert found.exit_code == 2
    assert found.message == (
        'input: 7 of 20 sampled records make a prompt; 13 missing_field (no "question"; the record '
        "has doi, title, query, contexts; if one of these is it, name it: input.fields.question); "
        "reject_budget is 0.5"
    )
    allowed = task.model_copy(update={"reject_budget": 0.65})
    assert records_of(allowed).exit_code == 0


def test_shared_ids_are_named_with_what_they_become(tmp_path):
    for year in ("2023", "2024"):
        lines = [{**row, "question": f"{row['question']} ({year})"} for row in rows(range(3))]
        write_jsonl(tmp_path / "in" / year / "part-0.jsonl", lines)
    task = job(tmp_path / "in", tmp_path / "store")
    message = records_of(task).message
    assert "3 ids for 6 different records: paper-0_Q0 (file:///" in message
    examples = run(task)["ids"]["examples"]
    assert all(r["record_id"] in message for example in examples for r in example["records"])


def test_a_fault_that_several_checks_find_is_said_once(tmp_path):
    task = job(tmp_path / "none", tmp_path / "store", prompt=str(tmp_path / "none.md"))
    faults = [d for d in diagnose(task) if d.exit_code]
    said = [d.message for d in faults if not d.message.startswith("not checked, because of ")]
    assert len(said) == len(set(said)) < len(faults)


def test_doctor_stays_with_a_part_of_a_large_input(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.runs.sample.SAMPLED_BYTES", 2000)
    for shard in range(40):
        write_jsonl(tmp_path / f"in/{shard:02}.jsonl", rows(range(shard, shard + 1)))
    size = sum(Path(p).stat().st_size for p in (tmp_path / "in").iterdir())
    made = records_of(job(tmp_path / "in", tmp_path / "store")).message
    assert int(made.split()[0]) == -(-40 // -(-size // 2000))
