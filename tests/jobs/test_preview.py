"""`preview`: what it shows, how far it reads, that it leaves nothing behind, and how it ends."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import psutil
import pytest
from aiohttp import web

from pipeline.config.loading import load_job
from tests.jobs.test_cli import imported_by
from tests.pipeline.results.pages.test_hostile_pages import HOSTILE
from tests.support.jobs import (
    BETTER_PROMPT,
    ROOT,
    free_port,
    job,
    job_file,
    overnight,
    rows,
    run,
    stored,
    write_jsonl,
)
from tests.support.scripted import GOOD, USAGE, endpoint, scripted, scripted_job

Command = Callable[..., "CompletedProcess[str]"]


@pytest.fixture
def job_path(tmp_path) -> Path:
    """A job for twelve records of two papers, in two shards."""
    write_jsonl(tmp_path / "in/a.jsonl", rows(range(7)))
    write_jsonl(tmp_path / "in/b.jsonl", rows(range(7, 12)))
    return job_file(tmp_path / "job.yaml", job(tmp_path / "in", tmp_path / "store"))


def document_of(done: "CompletedProcess[str]") -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def ids_in(document: dict[str, Any]) -> list[str]:
    return [record["record_id"] for record in document["records"]]


def template(path: Path, body: str, system: str = "") -> Path:
    front = f"name: {path.stem}\nversion: 7\n" + (f"system: {system}\n" if system else "")
    path.write_text(f"---\n{front}---\n{body}\n", encoding="utf-8")
    return path


# What it shows.


def test_three_records_are_shown_with_prompt_answer_and_every_check(job_path):
    done = overnight("preview", job_path)
    assert (done.returncode, done.stdout) == (0, "")
    for number in range(3):
        assert f" paper-0_Q{number} " in done.stderr
        assert f"Question: How many herons nested at pond {number}?" in done.stderr
        assert f"At pond {number} we counted {number + 3} herons on their nests." in done.stderr
    assert "paper-0_Q3" not in done.stderr
    assert done.stderr.count("✓ word_count: ") == 3
    assert "3 records, 3 answers, 0 failed; nothing is stored" in done.stderr


def test_with_json_one_document_goes_to_stdout_and_nothing_else(job_path):
    done = overnight("preview", job_path, "--json")
    document = document_of(done)
    assert (document["engine"], document["engine_version"]) == ("extractive", "1")
    assert ids_in(document) == ["paper-0_Q0", "paper-0_Q1", "paper-0_Q2"]
    (first, *_) = document["records"]
    assert [m["role"] for m in first["messages"]] == ["system", "user"]
    assert first["prompt"] is None  # no model's template stands between
    assert {check["name"]: check["evidence"] for check in first["checks"]}["word_count"]
    assert "paper-0_Q0" in done.stderr


def test_it_shows_what_a_run_would_store(command, job_path, tmp_path):
    """The same answers under the same keys, for all that they have in common."""
    document = document_of(command("preview", job_path, "--limit", "50", "--json"))
    run(load_job(job_path))
    of_run = {row["record_id"]: row for row in stored(tmp_path / "store").to_pylist()}
    assert sorted(ids_in(document)) == sorted(of_run)
    common = (of_run["paper-0_Q0"].keys() & document["records"][0].keys()) - {"attempts"}
    assert {"generation_key", "answer", "stance", "checks", "messages"} <= common
    for shown in document["records"]:
        row = of_run[shown["record_id"]]
        expected = {name: row[name] or "" for name in common}
        assert {name: shown[name] or "" for name in common} == expected


def test_a_failed_answer_is_shown_with_the_check_that_failed_it(command, tmp_path):
    cut = {**rows([1])[0], "recorded_answer": "There were herons at the"}
    write_jsonl(tmp_path / "in/a.jsonl", [cut])
    recorded = job(tmp_path / "in", tmp_path / "store", engine={"kind": "recorded"})
    done = command("preview", job_file(tmp_path / "job.yaml", recorded), "--json")
    (record,) = document_of(done)["records"]
    assert (record["status"], record["failed_checks"]) == ("failed", ["complete"])
    assert "✗ complete (fail): ends on a word that something follows" in done.stderr
    assert "✓ repetition: " in done.stderr
    assert "1 answer, 1 failed" in done.stderr


def completion(text: str) -> web.Response:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    about = {"id": "c", "object": "chat.completion", "created": 0, "model": "scripted"}
    return web.json_response({**about, "choices": [choice], "usage": USAGE})


def endpoint_job(folder: Path, url: str, numbers: range) -> Path:
    write_jsonl(folder / "in/a.jsonl", rows(numbers))
    plain = scripted_job(url, folder / "in", folder / "store", 40, "scripted")
    return job_file(folder / "job.yaml", plain)


def test_reasoning_and_answer_are_shown_apart(command, tmp_path):
    async def think(_: web.Request, body: bytes) -> web.Response:
        return completion(f"<think>\nEight, says passage 1.\n</think>\n\n{GOOD.format(8)}")

    with endpoint(think) as url:
        path = endpoint_job(tmp_path, url, range(5, 6))
        done = command("preview", path, "--json")
    (record,) = document_of(done)["records"]
    assert record["reasoning"] == "Eight, says passage 1."
    assert record["answer"] == "They counted 8 herons on their nests at the pond."
    assert record["completion"].startswith("<think>")
    assert "reasoning\n  Eight, says passage 1.\ncompletion\n  Answer:::" in done.stderr


def test_every_attempt_is_shown_with_what_it_was_asked(command, tmp_path):
    with scripted() as url:
        path = endpoint_job(tmp_path, url, range(5, 7))
        done = command("preview", path, "--json")
    repaired, passed = document_of(done)["records"]
    assert [a["failed_checks"] for a in repaired["attempts"]] == [["complete"], []]
    assert [a["is_answer"] for a in repaired["attempts"]] == [False, True]
    assert repaired["attempts"][0]["repairs"] == []
    assert repaired["attempts"][1]["repairs"][0].startswith("message: Your answer")
    assert (repaired["status"], len(passed["attempts"])) == ("answered", 1)
    assert (repaired["prompt_tokens"], passed["prompt_tokens"]) == (200, 100)
    assert repaired["cached_tokens"] == 80
    assert repaired["seconds"] >= sum(a["seconds"] for a in repaired["attempts"]) > 0
    assert "1. failed complete\n  Answer:::\n  They counted 8 herons at the\n" in done.stderr
    assert "passed; this is the answer" in done.stderr
    assert "200 prompt (80 cached), 20 completion (0 reasoning)" in done.stderr


# Which records.


@pytest.mark.parametrize("limit", [1, 5, 12, 40])
def test_the_first_records_of_the_input_are_taken(command, job_path, limit):
    document = document_of(command("preview", job_path, "--limit", limit, "--json"))
    everything = [row["record_id"] for row in rows(range(12))]
    assert ids_in(document) == everything[:limit]


@pytest.mark.parametrize(
    "selected",
    [
        {"only": ["paper_id=paper-1"]},
        {"only": ["question_id=Q2", "question_id=Q4"]},
        {"only": ["record_id=paper-1_Q3", "record_id=paper-0_Q1"]},
        {"only": ["paper_id=paper-1", "question_id=Q5"]},
        {"only": ["paper_id=nobody"]},
        {"bucket": "1/2"},
        {"bucket": "2/2"},
    ],
)
def test_it_selects_what_a_run_selects(command, job_path, tmp_path, selected):
    override = [f"input.bucket={selected['bucket']}"] if "bucket" in selected else []
    only = selected.get("only", [])
    options = [part for pair in only for part in ("--only", pair)]
    done = command("preview", job_path, *override, *options, "--limit", "50", "--json")
    shown = ids_in(document_of(done))
    counts = run(load_job(job_path, override), only=only)["counts"]
    by_run = stored(tmp_path / "store")["record_id"].to_pylist() if counts["read"] else []
    assert sorted(shown) == sorted(by_run)


@pytest.mark.parametrize("name", ["plan", "preview"])
@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        (["paper_id=nobody"], "--only paper_id=nobody: no record has this"),
        (["paper=nobody"], "none of 12 records has this column; did you mean 'paper_id'?"),
        (["dio=10.5555/x", "paper_id=paper-1"], "--only dio=…: none of 12 records has this column"),
        (["paper_id=paper-1", "question_id=Q9"], "--only paper_id=paper-1 question_id=Q9: no rec"),
    ],
)
def test_a_selection_of_nothing_says_why(command, job_path, name, pairs, said):
    options = [part for pair in pairs for part in ("--only", pair)]

    done = command(name, job_path, *options)

    assert done.returncode == 0
    assert said in " ".join(done.stderr.split())


def test_nothing_selected_is_said(command, job_path):
    done = command("preview", job_path, "--only", "paper_id=nobody")
    assert done.returncode == 0
    assert "no record: the input has none, or none that --only and input.bucket select" in (
        done.stderr
    )


def test_rejects_on_the_way_are_shown_with_their_reason(command, job_path, tmp_path):
    broken = "{oops\n" + json.dumps({"record_id": "bare", "question": "Why?"}) + "\n"
    (tmp_path / "in/0.jsonl").write_text(broken)
    (tmp_path / "in/z.pdf").write_bytes(b"%PDF")
    done = command("preview", job_path, "--json")
    document = document_of(done)
    assert [r["reason"] for r in document["rejects"]] == ["invalid_json", "missing_field"]
    assert len(document["records"]) == 3
    assert "0.jsonl#1: missing_field: " in done.stderr
    assert "2 rejects on the way: 1 invalid_json, 1 missing_field" in done.stderr


def test_an_input_of_rejects_is_given_up_early_and_most_of_them_are_counted(command, tmp_path):
    write_jsonl(tmp_path / "in/a.jsonl", [{"record_id": f"r{n}"} for n in range(1500)])
    path = job_file(tmp_path / "job.yaml", job(tmp_path / "in", tmp_path / "store"))
    done = command("preview", path, "--json")
    assert len(document_of(done)["rejects"]) == 1000
    assert done.stderr.count("\n") < 20


def test_no_more_is_read_than_is_needed(command, job_path, tmp_path):
    """Shards of 90 MB stand behind the first ones; a named record ends the reading too."""
    lines = [{**row, "record_id": f"large-{row['record_id']}"} for row in rows(range(100))]
    shard = write_jsonl(tmp_path / "in/c.jsonl", lines * 500)
    for number in range(4):
        shutil.copy(shard, tmp_path / f"in/d{number}.jsonl")
    size = sum(file.stat().st_size for file in (tmp_path / "in").iterdir())
    assert size > 80 * 2**20
    for options in ((), ("--only", "record_id=paper-1_Q3"), ("--only", "paper_id=paper-0")):
        before = psutil.Process().io_counters().read_chars
        assert command("preview", job_path, *options).returncode == 0
        assert psutil.Process().io_counters().read_chars - before < size / 4


# Two templates.


def test_two_templates_are_answered_side_by_side(command, job_path, tmp_path):
    """What stands beside the first is what a preview with the second template shows."""
    other = template(tmp_path / "brief.md", "{{ passages[0].text }}\n{{ question }}", "Be brief.")
    done = command("preview", job_path, "--against", other, "--json")
    records = document_of(done)["records"]
    alone = document_of(command("preview", job_path, f"prompt={other}", "--json"))["records"]
    volatile = {"seconds", "attempts"}
    for both, single in zip(records, alone, strict=True):
        against = {k: v for k, v in both["against"].items() if k not in volatile}
        assert against == {name: single[name] for name in against}
        assert both["prompt_key"] != both["against"]["prompt_key"]
        assert "+system: Be brief." in both["prompt_changes"]
    assert "against brief 7: another prompt, under another key" in done.stderr
    assert "┃ instructions-first 1" in done.stderr
    assert "3 records, 6 answers, 0 failed" in done.stderr


def test_a_template_that_renders_the_same_is_said_to_have_the_same_key(command, job_path, tmp_path):
    copy = shutil.copy(BETTER_PROMPT, tmp_path / "copy.md")
    done = command("preview", job_path, "--against", copy, "--limit", "1", "--json")
    (record,) = document_of(done)["records"]
    assert record["prompt_changes"] == []
    assert record["generation_key"] == record["against"]["generation_key"]
    assert "the same prompt, under the same key" in done.stderr


def test_a_second_template_that_a_record_does_not_fit_is_a_reject_beside_its_answer(
    command, job_path, tmp_path
):
    other = template(tmp_path / "year.md", "{{ extra.year }}: {{ question }}")
    done = command("preview", job_path, "--against", other, "--limit", "1", "--json")
    (record,) = document_of(done)["records"]
    assert (record["status"], record["against"]["reason"]) == ("answered", "missing_field")
    assert "reject: missing_field: " in done.stderr


# Text that is hostile to a terminal.


@pytest.mark.parametrize("against", [True, False])
def test_no_text_of_the_input_controls_the_terminal(command, tmp_path, against):
    lines = [
        {
            "record_id": f"{number} {text}"[:2000],
            "question": text[:2000],
            "passages": [{"text": text[:2000], "source": text[:100]}],
            "recorded_answer": f"<think>{text[:2000]}</think>Answer:::\n{text[:2000]}\nAnswer:::",
        }
        for number, text in enumerate([*HOSTILE, "\x9b2J\x85\u2028\r [bold]x[/] :warning: \t!"])
    ]
    shard = write_jsonl(tmp_path / "in/a.jsonl", lines)
    with shard.open("a", encoding="utf-8") as file:
        file.write('{"\x1b[2J\n')
    recorded = job(tmp_path / "in", tmp_path / "store", engine={"kind": "recorded"})
    path = job_file(tmp_path / "job.yaml", recorded)
    other = template(tmp_path / "other.md", "{{ question }}")
    options = ("--against", other) if against else ()
    done = command("preview", path, "--limit", "50", *options)
    assert f"{len(lines)} records" in done.stderr
    assert [c for c in done.stderr if not (c.isprintable() or c == "\n")] == []
    assert r"\x1b[31mred" in done.stderr
    assert "[bold]x[/] :warning:" in done.stderr


# What it leaves behind, and how it ends.


@pytest.mark.parametrize("kind", ["extractive", "recorded"])
def test_nothing_is_stored_and_no_ray_is_imported(job_path, tmp_path, kind):
    before = sorted(tmp_path.rglob("*"))
    code, packages = imported_by("preview", job_path, f"engine.kind={kind}")
    assert (code, "pyarrow" in packages) == (0, True)
    assert packages.isdisjoint({"ray", "torch", "vllm", "transformers"})
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--limit", "0"], "--limit 0: no record would be left"),
        (["--only", "colour"], "--only colour: write <column>=<value>"),
        (["--against", "none.md"], "none.md: the template cannot be read"),
        (["engine.knd=vllm"], "engine.knd: unknown key; did you mean 'kind'?"),
        (["checks.ecko=off"], "checks.ecko: no such check; did you mean 'echo'?"),
        (["input.uri=nowhere"], "nowhere: no file there"),
    ],
)
def test_bad_configuration_ends_with_2(command, job_path, options, message):
    done = command("preview", job_path, *options, "--json")
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.strip().count("\n") <= 1
    assert message in json.loads(done.stdout)["error"]


def test_an_engine_that_cannot_answer_ends_with_3_and_its_reason(command, job_path):
    dead = f"engine.options={{base_url: 'http://127.0.0.1:{free_port()}/v1', max_retries: 0}}"
    done = command("preview", job_path, "engine.kind=openai", "engine.model=any", dead, "--json")
    assert done.returncode == 3
    assert "error: http://127.0.0.1:" in done.stderr
    assert done.stderr.strip().count("\n") <= 1
    assert list(json.loads(done.stdout)) == ["error"]


def test_a_model_without_files_ends_with_3_before_any_engine_starts(command, job_path, tmp_path):
    model = f"engine={{kind: vllm, model: {tmp_path / 'nowhere'}, gpus_per_replica: 0}}"
    done = command("preview", job_path, model)
    assert done.returncode == 3
    assert "engine.model: " in done.stderr
    assert "nowhere" in done.stderr


def test_an_answer_is_shown_as_soon_as_it_is_there(tmp_path):
    """The second answer waits until a person has seen the first."""
    seen = tmp_path / "seen"

    async def wait(request: web.Request, body: bytes) -> web.Response:
        while b"pond 1?" in body and not seen.exists():
            await asyncio.sleep(0.05)
        return completion(GOOD.format(4))

    with endpoint(wait) as url:
        path = endpoint_job(tmp_path, url, range(2))
        process = start(path)
        assert process.stderr is not None
        for line in process.stderr:
            if "seconds" in line:
                seen.touch()
        assert process.wait(30) == 0
    assert seen.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_it_with_130_at_once(tmp_path, number):
    asked = tmp_path / "asked"

    async def hang(request: web.Request, body: bytes) -> web.Response:
        asked.touch()
        await asyncio.sleep(3600)
        return completion("")

    with endpoint(hang) as url:
        process = start(endpoint_job(tmp_path, url, range(2)))
        while not asked.exists():
            time.sleep(0.02)
            assert process.poll() is None
        process.send_signal(number)
        assert process.wait(10) == 130
    assert process.stderr is not None
    assert process.stderr.read() == "interrupted\n"


def start(path: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "jobs", "preview", str(path)],
        cwd=ROOT,
        env=dict(os.environ),
        stderr=subprocess.PIPE,
        text=True,
    )
