"""Answers of every format through whole runs and rechecks, and documents enforced by vLLM."""

import os
from pathlib import Path

import jsonschema
import orjson
import pyarrow.parquet as pq
import pytest

from pipeline.cluster.in_process import InProcess
from pipeline.config.schema import Job
from pipeline.core.records import Answered, Prompt, Record
from pipeline.core.words import count_words
from pipeline.prompting.template import load_prompt, render
from pipeline.runs.recheck import recheck_store
from tests.support.jobs import (
    BETTER_PROMPT,
    counts,
    ignore,
    job,
    job_file,
    run,
    stored,
    vllm_job,
    write_jsonl,
)
from tests.support.structured import structured

PROMPTS = int(os.environ.get("OVERNIGHT_PROMPTS", "24"))

STUDY = {
    "type": "object",
    "properties": {
        "data": {"enum": ["open", "on request", "closed", "not stated"]},
        "methods": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "name": {"type": "string", "maxLength": 12},
                    "kinds": {
                        "type": "array",
                        "items": {"enum": ["network", "trees", "regression"]},
                        "maxItems": 2,
                    },
                },
                "required": ["name", "kinds"],
                "additionalProperties": False,
            },
            "maxItems": 2,
        },
    },
    "required": ["data", "methods"],
    "additionalProperties": False,
}
SAID = {
    "yes": "Yes, in May.",
    "no": "**No.**",
    "unclear": "Answer:::\nunclear\nAnswer:::",
    None: "No information is given.",
}


def recorded(folder, answers: list[str], **answer) -> Job:
    rows = [
        {"record_id": str(n), "question": "Was it counted?", "recorded_answer": said}
        for n, said in enumerate(answers)
    ]
    write_jsonl(folder / "in/a.jsonl", [row | {"passages": ["It was."]} for row in rows])
    engine = {"kind": "recorded"}
    return job(folder / "in", folder / "store", engine=engine, answer=answer, failure_budget=1.0)


def answers_in(task: Job) -> dict[str, dict]:
    return {row["record_id"]: row for row in stored(Path(task.output.uri)).to_pylist()}


def test_a_run_stores_the_choice_and_fails_what_is_none(tmp_path):
    task = recorded(tmp_path, list(SAID.values()), choices=["yes", "no", "unclear"])
    assert counts(run(task)) == {"read": 4, "answered": 3, "failed": 1}
    rows = answers_in(task)
    assert [rows[str(n)]["answer"] for n in range(3)] == ["yes", "no", "unclear"]
    assert rows["3"]["failed_checks"] == ["format"]
    assert rows["3"]["answer"] == "No information is given."
    assert {name for row in rows.values() for name in (c["name"] for c in row["checks"])} == {
        "format",
        "complete",
        "empty",
    }


def test_a_recheck_reads_stored_completions_by_another_format(tmp_path):
    said = ['{"sites": 4}', '```json\n{"sites": 7}\n```', "Four sites."]
    task = recorded(tmp_path, said)
    run(task)
    assert {row["fields"] for row in answers_in(task).values()} == {None}
    schema = {"type": "object", "properties": {"sites": {"type": "integer"}}}
    changed = recorded(tmp_path, said, schema=schema)
    _, rechecked = recheck_store(changed, InProcess(), ignore)
    assert rechecked.rows == 3
    rows = latest(changed)
    assert [rows[str(n)]["fields"] for n in range(3)] == ['{"sites":4}', '{"sites":7}', None]
    assert [rows[str(n)]["status"] for n in range(3)] == ["answered", "answered", "failed"]


def latest(task: Job) -> dict[str, dict]:
    rows = sorted(stored(Path(task.output.uri)).to_pylist(), key=lambda row: row["written_at"])
    return {row["record_id"]: row for row in rows}


def test_the_extractive_engine_answers_with_a_choice(tmp_path):
    rows = [
        {
            "question": "Was the pond frozen in May?",
            "passages": ["In May the pond was frozen, yes."],
        }
    ]
    write_jsonl(tmp_path / "in/a.jsonl", rows)
    task = job(tmp_path / "in", tmp_path / "store", answer={"choices": ["yes", "no", "unclear"]})
    run(task)
    (row,) = stored(tmp_path / "store").to_pylist()
    assert (row["answer"], row["status"]) == ("yes", "answered")
    assert orjson.loads(row["settings"])["answer_format"] == ["yes", "no", "unclear"]


@pytest.fixture(scope="module")
def records(corpus) -> list[Record]:
    papers = structured(corpus, -(-PROMPTS // 28))
    return [record for paper in papers for record in paper][:PROMPTS]


def answered_once(local_vllm, model, records: list[Record], **task) -> list[Answered]:
    """By a model of random weights: nothing but the decoder holds it to a format."""
    asked = vllm_job(model, attempts=1, **task)
    source = load_prompt(BETTER_PROMPT, asked.answer)
    prompts = (Prompt(r, *render(source, r), "", "") for r in records)
    return local_vllm.answer_as(asked, *prompts)


def test_enforced_answers_of_the_corpus_keep_the_frame_and_the_limit(
    records, local_vllm, tiny_model
):
    answer = {"decoding": "enforced", "max_words": 40}
    for answered in answered_once(local_vllm, tiny_model, records, answer=answer):
        assert answered.completion.finish_reason == "stop"
        assert {c.name for c in answered.checks if c.passed} >= {"format", "word_count"}
        assert count_words(answered.answer) <= 40


@pytest.mark.parametrize("decoding", ["free", "enforced"])
def test_finished_documents_of_the_corpus_follow_their_schema(
    decoding: str, records, local_vllm, tiny_model
):
    answer, sampling = {"schema": STUDY, "decoding": decoding}, {"max_tokens": 200}
    finished = [
        answered
        for answered in answered_once(
            local_vllm, tiny_model, records, answer=answer, sampling=sampling
        )
        if answered.completion.finish_reason == "stop"
    ]
    passed = [answered for answered in finished if answered.status == "answered"]
    print(f"{decoding}: {len(passed)} of {len(finished)} finished documents follow the schema")
    if decoding == "free":
        assert passed == []
        return
    assert len(finished) > PROMPTS / 2
    for answered in finished:
        jsonschema.validate(orjson.loads(answered.document), STUDY)
    assert passed == finished


def test_an_export_has_the_fields_of_documents_as_columns_with_types(command, tmp_path):
    said = [
        '{"sites": 4, "open": true, "names": ["Weir", "Reed"], "at": {"year": 2021}}',
        '{"sites": 7, "open": false, "names": [], "note": "twice"}',
        "Four sites.",
    ]
    task = recorded(tmp_path, said, schema={"type": "object"})
    run(task)
    path = job_file(tmp_path / "job.yaml", task)
    done = command("export", path, "--to", tmp_path / "answers.parquet")
    assert done.returncode == 0, done.stderr
    table = pq.read_table(tmp_path / "answers.parquet").sort_by("record_id")
    assert table.column_names[:8] == [
        *("question", "answer", "status"),
        *(f"fields.{name}" for name in ("sites", "open", "names", "at", "note")),
    ]
    assert [str(table.schema.field(f"fields.{n}").type) for n in ("sites", "open", "at")] == [
        "int64",
        "bool",
        "string",
    ]
    assert table["fields.sites"].to_pylist() == [4, 7, None]
    assert table["fields.names"].to_pylist() == [["Weir", "Reed"], [], None]
    assert table["fields.at"].to_pylist() == ['{"year":2021}', None, None]
