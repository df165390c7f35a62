"""`tune` on the CPU build of vLLM: what it measures, and that it goes on after an interrupt."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.support.jobs import ROOT, job, job_file, overnight, rows, vllm_job, write_jsonl

Command = Callable[..., "subprocess.CompletedProcess[str]"]

SAMPLING = {"temperature": 0.0, "max_tokens": 8, "ignore_eos": True}


@pytest.fixture
def path(tiny_model: Path, tmp_path: Path) -> Path:
    write_jsonl(tmp_path / "shards/a.jsonl", rows(range(32)))
    job_ = vllm_job(
        tiny_model,
        tmp_path / "shards",
        tmp_path / "store",
        {"max_num_seqs": 4},
        sampling=SAMPLING,
    )
    return job_file(tmp_path / "job.yaml", job_)


@pytest.mark.soak
def test_an_interrupted_tune_shows_what_it_knows_leaves_no_process_and_goes_on(
    path: Path, tmp_path: Path
):
    arguments = ["tune", str(path), "--records", "16", "--json", "--minutes"]
    process = subprocess.Popen(
        [sys.executable, "-m", "jobs", *arguments, "10"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    known = _trials_when(tmp_path, process, 1)
    below = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    out, said = process.communicate(timeout=120)
    document = json.loads(out)
    assert process.returncode == 130
    assert [row["outcome"] for row in document["rows"]] == ["present"]
    assert "the same command goes on from here" in said
    assert psutil.wait_procs(below, 10)[1] == []

    # Time for one or two more engines, however slow this machine is now.
    spent = sum(json.loads(line)["cost"] for line in known)
    done = overnight(*arguments, (spent * 4.5 + 10) / 60, timeout=900)
    assert done.returncode == 0, done.stderr
    assert _lines(tmp_path)[: len(known)] == known
    assert len(_lines(tmp_path)) > len(known)
    document = json.loads(done.stdout)
    first, *others = document["rows"]
    assert (first["settings"], first["outcome"], first["records"]) == ({}, "present", 16)
    assert any(row["settings"] == {"max_num_seqs": 8} for row in others)
    assert document["in_force"]["max_num_seqs"] == 4
    assert document["in_force"]["block_size"] > 0
    left_out = {left["said"]: left["why"] for left in document["left_out"]}
    assert "no CUDA graphs" in left_out["CUDA graph sizes"]
    assert not list((tmp_path / "store").glob("answers/*"))
    assert not list((tmp_path / "store").glob("runs/*"))


def _lines(folder: Path) -> list[bytes]:
    return [
        line
        for f in folder.glob("store/tuning/*.jsonl")
        for line in f.read_bytes().split(b"\n")
        if line
    ]


def _trials_when(folder: Path, process: "subprocess.Popen[str]", least: int) -> list[bytes]:
    """The trials of a tune once it has made so many."""
    until = time.monotonic() + 600
    while len(_lines(folder)) < least:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.1)
    return _lines(folder)


def test_a_job_without_vllm_ends_with_2(command: Command, tmp_path: Path):
    write_jsonl(tmp_path / "shards/a.jsonl", rows(range(3)))
    file = job_file(tmp_path / "job.yaml", job(tmp_path / "shards", tmp_path / "store"))
    done = command("tune", file)
    assert done.returncode == 2
    assert "engine.kind: tune starts vLLM; extractive has no such settings" in done.stderr


@pytest.mark.parametrize("option", ["--minutes", "--records"])
def test_no_time_and_no_records_are_wrong_usage(option: str, command: Command, path: Path):
    done = command("tune", path, option, "0")
    assert done.returncode == 2
    assert "both must be above 0" in done.stderr
    assert not (path.parent / "store").exists()


def test_an_input_without_prompts_is_named(command: Command, path: Path):
    write_jsonl(path.parent / "shards/a.jsonl", [{"record_id": "empty"}])
    done = command("tune", path)
    assert done.returncode == 2
    assert "no record makes a prompt" in done.stderr
