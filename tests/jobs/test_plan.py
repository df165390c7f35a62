"""What a plan shows: the changes of a prompt whose passages may be reordered, and tokens."""

from io import StringIO
from pathlib import Path
from typing import Any

from rich.console import Console

from jobs.plan import differing_lines, main
from pipeline.config.schema import Job
from pipeline.engines import settings_of
from pipeline.runs.plan import SETTINGS, changed_settings
from tests.support.jobs import job, rows, run, selection, vllm_job, write_jsonl


def test_lines_that_only_moved_are_no_change():
    assert differing_lines(["a", "b", "c"], ["c", "a", "b"]) == ([], [])


def test_lines_that_changed_are_shown_and_repetitions_counted():
    assert differing_lines(["a", "b", "b"], ["b", "a", "x"]) == (["b"], ["x"])


def batch_output(records: int) -> list[dict[str, Any]]:
    """Lines of a batch's output whose model thought for thirty of its fifty tokens."""
    message = {"content": "Eleven herons nested.", "reasoning_content": "The second passage says."}
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 50,
        "completion_tokens_details": {"reasoning_tokens": 30},
    }
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop"}
    body = {"model": "heron", "choices": [choice], "usage": usage}
    return [
        {"id": f"b{n}", "custom_id": f"pond-{n}", "response": {"status_code": 200, "body": body}}
        for n in range(records)
    ]


def planned(task: Job) -> tuple[dict[str, Any], str]:
    """The document of a plan, and what it says."""
    said = StringIO()
    return main(Console(file=said, width=200), task, selection(task), 0, None, False)[
        1
    ], said.getvalue()


def test_reasoning_tokens_are_planned_as_the_last_run_measured_them(tmp_path: Path):
    recorded = {"prompt": "verbatim", "engine": {"kind": "recorded"}}
    task = job(tmp_path / "shards", tmp_path / "store", **recorded)
    write_jsonl(tmp_path / "shards/a.jsonl", batch_output(20))
    assert planned(task)[0]["estimated_reasoning_tokens"] is None
    document = run(task)
    assert document["sums"]["reasoning_tokens"] == 20 * 30
    assert document["reasoning"] == "by the marks in the text"
    write_jsonl(tmp_path / "shards/b.jsonl", batch_output(30)[20:])
    document, said = planned(task)
    assert document["estimated_completion_tokens"] == 10 * 50
    assert document["estimated_reasoning_tokens"] == 10 * 30
    assert "500 completion tokens (300 of them reasoning)" in said


def test_a_plan_says_what_equal_prompts_save_and_costs_the_rest(tmp_path: Path):
    single, twice = rows(range(3)), [*rows(range(3)), *rows(range(2))]
    twins = [{**row, "record_id": f"r{number}"} for number, row in enumerate(twice)]
    engine = {"kind": "openai", "model": "m", "options": {"base_url": "http://127.0.0.1:9/v1"}}
    document, said = planned(job(write_jsonl(tmp_path / "a.jsonl", twins), "store", engine=engine))
    alone, _ = planned(job(write_jsonl(tmp_path / "b.jsonl", single), "store", engine=engine))
    assert (document["work"], document["shared_generations"]) == (5, 2)
    assert (alone["work"], alone["shared_generations"]) == (3, 0)
    costs = ("estimated_prompt_tokens", "estimated_completion_tokens")
    assert [document[name] for name in costs] == [alone[name] for name in costs]
    assert "2 generations saved: equal prompts share one (engine.equal_prompts)" in said


def test_every_setting_in_the_key_has_a_name_that_a_plan_says():
    options = {"extra_body": {"effort": "low"}, "concurrency": 8}
    engine = {
        "kind": "openai",
        "model": "heron",
        "reasoning": "off",
        "chat_template_kwargs": {"enable_thinking": False},
        "generation_options": ["concurrency"],
        "options": options,
    }
    found = set(settings_of(job("shards", "store", engine=engine)))
    template = {"chat_template": "{{ messages }}"}
    found |= set(settings_of(vllm_job("model", options=template)))
    assert found == set(SETTINGS)


def test_a_plan_names_a_changed_body_of_requests():
    assert changed_settings('{"decoding":"free"}', '{"decoding":"free","extra_body":{"a":1}}') == [
        "extra_body"
    ]
