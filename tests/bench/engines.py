"""Overnight beside vLLM's own offline class, its batch command and `ray.data.llm`.

The same records, chats, sampling and engine options; every way in a process of its own, in turn,
round after round. What counts are rows a second between the engine's first token and its last.
"""

import json
import os
import statistics
import struct
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.config.schema import Answer
from pipeline.core.records import Record
from pipeline.prompting.template import load_prompt, render
from tests.bench.contenders import WAYS
from tests.support.jobs import BETTER_PROMPT, ROOT, unpacked, write_jsonl
from tests.support.models import MIDDLING, make_model
from tests.support.structured import as_row, structured

PAPERS, ANSWER_TOKENS, ROUNDS = 3, 100, 3
OPTIONS = {
    "dtype": "bfloat16",
    "enforce_eager": True,
    "kv_cache_memory_bytes": 2**30,
    "max_model_len": 4096,
    "block_size": 32,
    "max_num_seqs": 32,
    "max_num_batched_tokens": 4096,
}


@dataclass(frozen=True)
class Rates:
    """Rows a second of every way, round by round."""

    rounds: list[dict[str, float]]

    def median(self, way: str) -> float:
        return statistics.median(r[way] for r in self.rounds)

    def ratios(self, way: str) -> list[float]:
        """Overnight over another way, pair by pair."""
        return sorted(r["overnight"] / r[way] for r in self.rounds)


def compare(scratch: Path, rounds: int = ROUNDS) -> Rates:
    """Has every way answer all records, `rounds` times."""
    scratch.mkdir(parents=True)
    records = [record for paper in structured(unpacked(scratch), PAPERS) for record in paper]
    shard = write_jsonl(scratch / "shards" / "records.jsonl", list(map(as_row, records)))
    chats = list(_chats(records))
    texts = [message["content"] for _, messages in chats for message in messages]
    task = {
        "model": str(make_model(scratch / "model", MIDDLING, texts=texts)),
        "template": BETTER_PROMPT,
        "records": str(shard),
        "chats": str(write_jsonl(scratch / "chats.jsonl", chats)),
        "options": OPTIONS,
        "tokens": ANSWER_TOKENS,
        "gpus": 0,
    }
    ways, count = list(enumerate(WAYS)), len(records)
    return Rates(
        [
            {way: _rate(way, task, count, scratch / f"{n}-{at}") for at, way in ways}
            for n in range(rounds)
        ]
    )


def _chats(records: Iterable[Record]) -> Iterator[tuple[str, list[dict[str, str]]]]:
    source = load_prompt(BETTER_PROMPT, Answer())
    for record in records:
        messages, _ = render(source, record)
        yield record.record_id, [message._asdict() for message in messages]


def _rate(way: str, task: dict[str, object], records: int, folder: Path) -> float:
    rate = records / seconds_at_work(way, task, folder)
    print(f"{way}: {rate:.2f} rows a second", file=sys.stderr, flush=True)
    return rate


def seconds_at_work(way: str, task: dict[str, object], folder: Path) -> float:
    """From the first step of a way's engine to its last; the way runs in a process of its own."""
    folder.mkdir()
    clock, described = folder / "clock", folder / "task.json"
    described.write_text(json.dumps({**task, "folder": str(folder)}))
    path = [str(ROOT / "tests" / "bench" / "clock"), str(ROOT)]
    with (folder / "log.txt").open("wb") as log:
        done = subprocess.run(
            [sys.executable, "-m", "tests.bench.contenders", way, str(described)],
            cwd=ROOT,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={
                **os.environ,
                "OVERNIGHT_BENCH_CLOCK": str(clock),
                "PYTHONPATH": os.pathsep.join(path),
                "HF_HUB_OFFLINE": "1",
                "VLLM_NO_USAGE_STATS": "1",
            },
            check=False,
        )
    if done.returncode:
        raise RuntimeError(f"{way}: {(folder / 'log.txt').read_text()[-3000:]}")
    first, last = struct.unpack("dd", clock.read_bytes())
    return last - first


def section(scratch: Path) -> list[str]:
    """Its part of docs/benchmarks.md."""
    rates, cores = compare(scratch), os.cpu_count()
    model = f"a Llama of 25 million random parameters on {cores} cores, the CPU build of vLLM"
    rows = [f"| {way} | {rates.median(way):.2f} | {_spread(rates.ratios(way))} |" for way in WAYS]
    return [
        "## Compared with other ways to run the same model",
        "",
        f"{PAPERS} papers of the published corpus with 28 questions each, in their order, contexts "
        f"split into passages at blank lines, template `instructions-first`; {ANSWER_TOKENS} "
        f"tokens per answer, {model}. All ways have the same records, sampling and engine options "
        f"({_listed(OPTIONS)}) and the prefix cache; each runs in a process of its own, in turn, "
        f"{len(rates.rounds)} rounds. Overnight runs with `prompt.passages: shared_first`, and "
        "once more with the passages as given, which gives the very prompts the others get. Rows "
        "per second are counted from the engine's first step to its last; Overnight's include "
        "arranging, checks and Parquet. Ratios are Overnight over the other way, round by round.",
        "",
        "| way | rows per second, median | Overnight ÷ it: median (least to most) |",
        "|---|---:|---:|",
        *rows,
        "",
        "On a GPU, 8 billion parameters: see [below](#on-a-gpu).",
        "",
    ]


def _listed(options: dict[str, object]) -> str:
    return ", ".join(f"`{name}={value}`" for name, value in options.items())


def _spread(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
