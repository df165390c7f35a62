"""`python -m tests.bench.gpu` end to end on the build without a GPU.

In place of NVIDIA's tool stands a script that prints what it prints.
"""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.bench import cards
from tests.bench.gpu import DEMO, measure, parser, parts, rows
from tests.bench.gpu_parts import OFFLINE, _tuned, reason
from tests.support.jobs import BETTER_PROMPT

TOOL = """#!/bin/sh
case "$1" in
*driver_version) echo "NVIDIA H200, 143771 MiB, 580.95.05" ;;
*) echo "0, 96, 40, 610.5"; echo "1, 2, [N/A], [N/A]" ;;
esac
"""


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with two GPUs, the second almost idle."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "nvidia-smi").write_text(TOOL)
    (folder / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A model that is nowhere, and a tiny one that is measured once in one arm, without tuning."""
    out = tmp_path_factory.mktemp("gpu") / "tiny.json"
    arguments = ["--model", "/nowhere/at-all", "--shape", "tiny", "--precision", "bfloat16"]
    small = ["--papers", "2", "--tokens", "8", "--records", str(DEMO), "--arm", "shared_first"]
    measure(parser().parse_args([*arguments, *small, "--tune-minutes", "0", "--out", str(out)]))
    return dict(json.loads(out.read_text()))


@pytest.mark.soak
def test_a_part_that_fails_is_an_entry_with_its_reason_and_ends_nothing(
    document: dict[str, Any],
) -> None:
    failed, measured = document["parts"]

    assert failed["model"] == "/nowhere/at-all"
    assert failed["arms"] == {}
    assert "/nowhere/at-all" in failed["error"]
    assert "error" not in measured


@pytest.mark.soak
def test_both_ways_answer_the_same_prompts(document: dict[str, Any]) -> None:
    arms = document["parts"][1]["arms"]

    assert list(arms) == ["shared_first"]
    for arm in arms.values():
        (ours,), (theirs,) = arm["overnight"], arm[OFFLINE]
        assert ours["tokens"]["prompt"] == theirs["tokens"]["prompt"]
        assert ours["tokens"]["completion"] == document["records"] * 8
        assert theirs["tokens"]["completion"] == document["records"] * 8
        assert 0 < ours["calls"] <= 1
        assert arm["overnight_over_offline"] == [theirs["seconds"] / ours["seconds"]]


@pytest.mark.soak
def test_every_part_is_a_row_of_the_table(document: dict[str, Any]) -> None:
    failed, measured = (row.strip("| ").split("|") for row in rows(document))

    assert failed[0].strip() == "/nowhere/at-all, bfloat16, 0 × no GPU"
    assert failed[-1].strip() == document["parts"][0]["error"]
    assert [cell for cell in failed[1:-1] if cell.strip()] == []
    assert measured[0].strip() == "shape tiny, bfloat16, 0 × no GPU"
    assert float(measured[4]) == pytest.approx(
        document["parts"][1]["arms"]["shared_first"]["overnight_over_offline"][0], abs=0.005
    )


def test_what_tune_chose_is_in_the_row_or_why_it_chose_nothing() -> None:
    part = {"model": "m", "precision": "fp8", "arms": {}}
    told = [
        {**part, "tune": {"document": {"recommended": {"max_num_seqs": 64}}}},
        {**part, "tune": {"document": {"recommended": None}}},
        {**part, "tune": {"error": "tune: exit code 3: it died"}},
        {**part, "tune": None},
    ]

    found = rows({"gpus": 1, "gpu": ["NVIDIA H200, 143771 MiB, 580.95.05"], "parts": told})

    assert [row.rsplit("| ", 1)[1] for row in found] == [
        '`{"max_num_seqs": 64}` |',
        "nothing better |",
        "tune: exit code 3: it died |",
        " |",
    ]


@pytest.mark.soak
def test_a_tune_that_fails_is_an_entry_too(tmp_path: Path) -> None:
    task = {
        "model": "/nowhere/at-all",
        "template": BETTER_PROMPT,
        "records": str(DEMO),
        "options": {},
        "tokens": 8,
        "gpus": 0,
    }

    assert _tuned(task, 1, tmp_path / "tune")["error"].startswith("tune: exit code ")


def test_one_command_without_models_measures_both_shapes_in_both_precisions() -> None:
    found = list(parts(parser().parse_args(["--out", "gpu.json"]), gpus=1))

    assert [(part.name, part.precision) for part in found] == [
        ("8b", "bfloat16"),
        ("8b", "fp8"),
        ("32b", "bfloat16"),
        ("32b", "fp8"),
    ]
    assert all(part.options["load_format"] == "dummy" for part in found)


def test_the_weights_of_a_named_model_are_its_own() -> None:
    arguments = ["--model", "Qwen/Qwen3-8B", "--option", "max_num_seqs=64", "--out", "gpu.json"]
    part, _ = parts(parser().parse_args(arguments), gpus=1)

    assert part.shape is None
    assert part.options == {"dtype": "bfloat16", "max_model_len": 16_384, "max_num_seqs": 64}


@pytest.mark.usefixtures("tool")
def test_counters_are_means_over_the_gpus_that_are_used() -> None:
    began = time.monotonic()
    with cards.sampled() as samples:
        time.sleep(4 * cards.SAMPLE_SECONDS)
    span = (began, time.monotonic())

    assert cards.names() == ["NVIDIA H200, 143771 MiB, 580.95.05"]
    one = cards.means(samples, span, gpus=1)
    assert one == pytest.approx({"busy": 0.96, "memory_busy": 0.4, "watts": 610.5})
    both = cards.means(samples, span, gpus=2)
    assert both is not None
    assert both["busy"] == pytest.approx(0.49)
    assert both["watts"] == 610.5  # the other GPU does not count them


@pytest.mark.usefixtures("tool")
def test_samples_outside_the_span_do_not_count() -> None:
    with cards.sampled() as samples:
        time.sleep(3 * cards.SAMPLE_SECONDS)

    assert samples
    assert cards.means(samples, (0.0, samples[0].at - 1), gpus=1) is None


def test_a_reason_is_the_first_exceptions_of_a_log_each_once() -> None:
    log = """INFO loading
(EngineCore pid=7) ERROR [core.py:9] torch.OutOfMemoryError: CUDA out of memory.
(EngineCore pid=7) ERROR [core.py:9] torch.OutOfMemoryError: CUDA out of memory.
RuntimeError: Engine core initialization failed.
ValueError: something later
"""
    assert reason(log) == (
        "torch.OutOfMemoryError: CUDA out of memory.; "
        "RuntimeError: Engine core initialization failed."
    )
    failed = "Exception: no Ray\nsubprocess.CalledProcessError: Command 'overnight' failed"
    assert reason(failed) == "Exception: no Ray"
    assert reason("no such command\n") == "no such command"
