"""What a judge costs: the same records answered with one and without, by turns.

`python -m tests.bench.judging TASK` has one vLLM engine do both. vLLM's own processes import this
module again and fail on some imports, so functions import what they need.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

RECORDS, ROUNDS, ANSWER_TOKENS = 16, 7, 100
BLOCK_TOKENS = 32
"""The smallest that vLLM's CPU build takes; half of a block is read again for a verdict."""

TEMPLATE = "conf/prompts/judge-answers.md"

OPTIONS = {
    "block_size": BLOCK_TOKENS,
    "kv_cache_memory_bytes": 2**30,
    "max_model_len": 4096,
    "max_num_seqs": 32,
    "max_num_batched_tokens": 4096,
}


@dataclass(frozen=True)
class JudgeUse:
    """Seconds of each round without and with a judge, and tokens a verdict: means, and the most."""

    records: int
    without: list[float]
    judged: list[float]
    verdicts: int
    prefilled: float
    most_prefilled: int
    turn: float
    decoded: float

    @property
    def ratios(self) -> list[float]:
        pairs = zip(self.judged, self.without, strict=True)
        return sorted(judged / without for judged, without in pairs)


def measure(scratch: Path, records: int = RECORDS, rounds: int = ROUNDS) -> JudgeUse:
    from tests.support.jobs import unpacked, write_jsonl
    from tests.support.models import MIDDLING, make_model
    from tests.support.structured import as_row, structured

    scratch.mkdir(parents=True)
    (paper,) = structured(unpacked(scratch), 1)
    lines = [as_row(record) for record in paper[:records]]
    # As every tokenizer of a real model knows the judge's words.
    texts = [*(p.text for r in paper for p in r.passages), *[Path(TEMPLATE).read_text()] * 100]
    task = {
        "model": str(make_model(scratch / "model", MIDDLING, texts=texts)),
        "records": str(write_jsonl(scratch / "records.jsonl", lines)),
        "rounds": rounds,
        "out": str(scratch / "out.json"),
    }
    (scratch / "task.json").write_text(json.dumps(task))
    with (scratch / "log.txt").open("wb") as log:
        done = subprocess.run(
            [sys.executable, "-m", "tests.bench.judging", str(scratch / "task.json")],
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"},
            check=False,
        )
    if done.returncode:
        raise RuntimeError((scratch / "log.txt").read_text()[-3000:])
    use = JudgeUse(**json.loads((scratch / "out.json").read_text()))
    print(use, use.ratios, file=sys.stderr, flush=True)
    return use


def _answer(task: dict[str, Any]) -> JudgeUse:
    """Both ways, round after round, each with an empty cache; runs in a process of its own."""
    from pipeline.config.schema import Input
    from pipeline.core.filesystem import Storage
    from pipeline.core.records import Prompt, Record
    from pipeline.prompting.template import load_prompt, render
    from pipeline.reading.shards import list_shards
    from pipeline.reading.source import read_items
    from tests.support.jobs import BETTER_PROMPT, vllm_job
    from tests.support.local_vllm import LocalVllm

    sampling = {"max_tokens": ANSWER_TOKENS, "ignore_eos": True}
    plain = vllm_job(task["model"], options=OPTIONS, sampling=sampling, attempts=1)
    judged = vllm_job(task["model"], options=OPTIONS, sampling=sampling, attempts=1, judge={})
    shards = list_shards(task["records"], Storage()).shards
    records = list(read_items(shards, Input(uri=task["records"]), Storage()))
    source = load_prompt(BETTER_PROMPT, plain.answer)
    prompts = [
        Prompt(record, *render(source, record), "", record.record_id)
        for record in records
        if isinstance(record, Record)
    ]
    engine, seconds, answers = LocalVllm(plain), ([], []), []  # type: ignore[var-annotated]
    for _ in range(task["rounds"]):
        for job, spent in zip((plain, judged), seconds, strict=True):
            engine._run(engine.process._llm.reset_prefix_cache())
            began = time.perf_counter()
            answers = engine.answer_as(job, *prompts)
            spent.append(time.perf_counter() - began)
    engine.close()
    counts = [answer.judging for answer in answers]
    fresh = [c.judge_prompt_tokens - c.judge_cached_tokens for c in counts]
    own = [
        a.judging.judge_prompt_tokens - a.completion.prompt_tokens - a.completion.completion_tokens
        for a in answers
    ]
    return JudgeUse(
        len(prompts),
        *seconds,
        verdicts=sum(c.judged for c in counts),
        prefilled=statistics.mean(fresh),
        most_prefilled=max(fresh),
        turn=statistics.mean(own),
        decoded=statistics.mean(c.judge_completion_tokens for c in counts),
    )


def section(scratch: Path) -> list[str]:
    """Its part of docs/benchmarks.md."""
    use = measure(scratch)
    ratios, median = use.ratios, statistics.median(use.ratios)
    return [
        "## A judge",
        "",
        f"{use.records} records of a paper of the published corpus, {ANSWER_TOKENS} tokens "
        f"an answer, a Llama of 25 million random parameters on {os.cpu_count()} cores, blocks of "
        f"{BLOCK_TOKENS} tokens, the template `judge-answers`. The same records are answered "
        f"without a judge and with `judge.when: always`, by turns, {ROUNDS} rounds, each with an "
        "empty prefix cache and one engine.",
        "",
        "| | |",
        "|---|---:|",
        f"| seconds with a judge ÷ without: median (least to most) | {median:.2f} ({ratios[0]:.2f} "
        f"to {ratios[-1]:.2f}) |",
        f"| tokens of a judge's turn, behind prompt and answer | {use.turn:.1f} |",
        f"| tokens read for a verdict, beyond the prefix cache: mean, most | {use.prefilled:.1f}, "
        f"{use.most_prefilled} |",
        f"| tokens written for a verdict | {use.decoded:.1f} |",
        f"| answers with a verdict | {use.verdicts} of {use.records} |",
        "",
    ]


if __name__ == "__main__":
    described = json.loads(Path(sys.argv[1]).read_text())
    Path(described["out"]).write_text(json.dumps(asdict(_answer(described))))
