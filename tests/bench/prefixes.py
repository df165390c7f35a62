"""What the prefix cache saves for the prompts of whole papers, in several arrangements (arms).

`python -m tests.bench.prefixes TASK` has one vLLM engine answer every arm; TASK is a JSON file
with model, prompts by arm, engine options and rounds. vLLM's own processes import this module
again and fail on some imports, so functions import what they need.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ARMS = (
    "random order",
    "grouped",
    "grouped, ordered",
    "shared_first",
    "shared_first, better template",
)
PAPERS, TIMED_PAPERS, ROUNDS = 40, 2, 3
ANSWER_TOKENS = 16
BLOCK_TOKENS = 32
"""vLLM's CPU build takes multiples of 32; half as many blocks hold as much as those of 16."""

CACHES = (2048 * 16, 512 * 16, 8192 * 16)
SEQUENCES, STEP_TOKENS = 16, 4096


@dataclass(frozen=True)
class CacheUse:
    """One arm at one size of the cache: shares of prompt tokens, and seconds of each round."""

    realised: float
    estimated: float
    seconds: tuple[float, ...]
    prefilled: int


def measure(scratch: Path) -> dict[str, Any]:
    """Shares at every size of the cache, with the smallest model; seconds with 25 million
    parameters, arm by arm in every round."""
    from tests.support.models import MIDDLING, TINY, make_model

    scratch.mkdir(parents=True)
    arms = prompts_by_arm(PAPERS)
    texts = [m["content"] for prompt in arms[ARMS[0]] for m in prompt]
    tiny = make_model(scratch / "tiny", TINY, texts=texts)
    shares = {
        tokens: _answered(scratch / f"cache-{tokens}", tiny, arms, tokens, rounds=1)
        for tokens in CACHES
    }
    best = {"best known tree": best_known(PAPERS)}
    known = _answered(scratch / "best", tiny, best, CACHES[2], rounds=1)["best known tree"]
    middling = make_model(scratch / "middling", MIDDLING, texts=texts)
    timed = _answered(
        scratch / "timed", middling, prompts_by_arm(TIMED_PAPERS), CACHES[0], rounds=ROUNDS
    )
    repeats = repeated_share(arms[ARMS[4]])
    return {"shares": shares, "best": known, "timed": timed, "repeats": repeats}


def prompts_by_arm(papers: int) -> dict[str, list[list[dict[str, str]]]]:
    """The prompts of every arm in the order in which they are sent."""
    import random

    from pipeline.config.schema import Answer
    from pipeline.prompting.template import load_prompt

    given, better = (
        load_prompt(f"conf/prompts/{name}.md", Answer())
        for name in ("context-first", "instructions-first")
    )
    records = _records(papers)
    shuffled = random.Random(7).sample(records, len(records))
    trees = _arranged(records)
    return {
        ARMS[0]: _rendered(shuffled, given),
        ARMS[1]: _rendered(sorted(shuffled, key=lambda r: r.paper_id or ""), given),
        ARMS[2]: _ordered(records, given),
        ARMS[3]: _ordered(trees, given),
        ARMS[4]: _ordered(trees, better),
    }


def best_known(papers: int) -> list[list[dict[str, str]]]:
    """The last arm with trees from a search far longer than a run can afford."""
    from unittest.mock import patch

    from pipeline.config.schema import Answer
    from pipeline.prompting.template import load_prompt
    from tests.bench.trees import deep_saving

    with patch("pipeline.prompting.passage_order._greedy_saving", deep_saving):
        trees = _arranged(_records(papers))
    return _ordered(trees, load_prompt("conf/prompts/instructions-first.md", Answer()))


def repeated_share(prompts: list[list[dict[str, str]]]) -> float:
    """The share of characters in lines that an earlier prompt had.

    No arrangement can share more, even if any order of lines could be shared.
    """
    seen: set[str] = set()
    total = repeated = 0
    for prompt in prompts:
        for line in "\n".join(message["content"] for message in prompt).split("\n"):
            total += len(line)
            repeated += len(line) if line in seen else 0
            seen.add(line)
    return repeated / total


def _records(papers: int) -> list[Any]:
    import tempfile

    from tests.support.jobs import unpacked
    from tests.support.structured import structured

    with tempfile.TemporaryDirectory() as folder:
        by_paper = structured(unpacked(Path(folder)), papers)
    return [record for paper in by_paper for record in paper]


def _arranged(records: list[Any]) -> list[Any]:
    from dataclasses import replace
    from itertools import groupby

    from pipeline.prompting.passage_order import arrange

    arranged = []
    for _, group in groupby(records, key=lambda r: r.paper_id):
        paper = list(group)
        for number, passages in arrange([record.passages for record in paper]):
            arranged.append(replace(paper[number], passages=passages))
    return arranged


def _rendered(records: list[Any], source: Any) -> list[list[dict[str, str]]]:
    from pipeline.prompting.template import render

    return [[m._asdict() for m in render(source, record)[0]] for record in records]


def _ordered(records: list[Any], source: Any) -> list[list[dict[str, str]]]:
    from pipeline.prompting.grouping import grouped, split_batches

    prompts = _rendered(records, source)
    texts = ["\n".join(message["content"] for message in prompt) for prompt in prompts]
    groups = grouped(texts, [record.paper_id for record in records])
    answers = [ANSWER_TOKENS] * len(prompts)
    return [prompts[n] for batch in split_batches(groups, 200, 1, answers) for n in batch]


def _answered(
    folder: Path, model: Path, arms: dict[str, Any], cache_tokens: int, rounds: int
) -> dict[str, CacheUse]:
    folder.mkdir()
    task = folder / "task.json"
    task.write_text(
        json.dumps(
            {
                "model": str(model),
                "arms": arms,
                "blocks": cache_tokens // BLOCK_TOKENS,
                "rounds": rounds,
                "out": str(folder / "out.json"),
            }
        )
    )
    with (folder / "log.txt").open("wb") as log:
        done = subprocess.run(
            [sys.executable, "-m", "tests.bench.prefixes", str(task)],
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"},
            check=False,
        )
    if done.returncode:
        raise RuntimeError((folder / "log.txt").read_text()[-3000:])
    by_arm = json.loads((folder / "out.json").read_text())
    for arm, use in by_arm.items():
        print(f"{cache_tokens:,} tokens, {arm}: {use}", file=sys.stderr, flush=True)
    return {
        arm: CacheUse(**{**use, "seconds": tuple(use["seconds"])}) for arm, use in by_arm.items()
    }


def _answer(task: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Every arm in turn, each with an empty cache; runs in a process of its own."""
    from vllm import LLM, SamplingParams, TokensPrompt

    from pipeline.core.records import Message
    from pipeline.engines.tokenizer import PromptEncoder
    from pipeline.prompting.cache_estimate import cached_tokens

    llm = LLM(
        model=task["model"],
        dtype="bfloat16",
        enforce_eager=True,
        block_size=BLOCK_TOKENS,
        num_gpu_blocks_override=task["blocks"],
        kv_cache_memory_bytes=2**30,
        max_model_len=4096,
        max_num_seqs=SEQUENCES,
        max_num_batched_tokens=STEP_TOKENS,
    )
    encoder = PromptEncoder(llm.get_tokenizer())
    tokens = {
        arm: [encoder.encode([Message(**m) for m in prompt]) for prompt in prompts]
        for arm, prompts in task["arms"].items()
    }
    sampling = SamplingParams(max_tokens=ANSWER_TOKENS, ignore_eos=True)
    by_arm: dict[str, dict[str, Any]] = {}
    for _ in range(task["rounds"]):
        for arm, prompts in tokens.items():
            llm.reset_prefix_cache()
            began = time.perf_counter()
            outputs = llm.generate(
                [TokensPrompt(prompt_token_ids=prompt) for prompt in prompts],
                sampling,
                use_tqdm=False,
            )
            spent = time.perf_counter() - began
            total, cached = sum(map(len, prompts)), sum(o.num_cached_tokens or 0 for o in outputs)
            use = by_arm.setdefault(
                arm,
                {
                    "realised": cached / total,
                    "estimated": cached_tokens(prompts, BLOCK_TOKENS) / total,
                    "seconds": [],
                    "prefilled": total - cached,
                },
            )
            use["seconds"].append(spent)
    return by_arm


def section(scratch: Path) -> list[str]:
    """Its part of docs/benchmarks.md."""
    from tests.bench.planning import PASSAGES, RECORDS, planning_rate

    measured = measure(scratch)
    rate = planning_rate()
    last = measured["shares"][CACHES[2]][ARMS[4]]
    reached = last.realised / measured["best"].realised
    return [
        "## The prefix cache",
        "",
        f"{PAPERS} papers of the published corpus, 28 questions each, contexts split into passages "
        f"at blank lines; {ANSWER_TOKENS} tokens per answer, {SEQUENCES} sequences at a time, "
        f"blocks of {BLOCK_TOKENS} tokens, the smallest that vLLM's CPU build takes. Each cell is "
        "the share of prompt tokens that came from a cache of that size; the last is the share "
        "that `plan` estimates. The first four arms use the template `context-first`, whose "
        "instructions follow the passages; the last uses `instructions-first`.",
        "",
        f"| arm | {' | '.join(f'{tokens:,} tokens' for tokens in CACHES)} | estimate |",
        "|---|---:|---:|---:|---:|",
        *(_shares(measured["shares"], arm) for arm in ARMS),
        "",
        f"The last arm reaches {reached:.3f} of what the best known trees give "
        f"({measured['best'].realised:.3f}), which were found by looking one choice further ahead "
        f"than a run has time for. {measured['repeats']:.3f} of all tokens are in lines that stood "
        "somewhere in an earlier prompt: no order could share more.",
        "",
        f"Wall time for {TIMED_PAPERS} of the papers with a Llama of 25 million random parameters, "
        f"arm after arm, {ROUNDS} rounds, {CACHES[0]:,} tokens of cache. Ratios are over random "
        "order, round by round.",
        "",
        "| arm | tokens prefilled | seconds, median | ÷ random order: median (least to most) |",
        "|---|---:|---:|---:|",
        *(_timed(measured["timed"], arm) for arm in ARMS),
        "",
        f"Planning: one core arranges, renders, sorts and splits into batches {rate:,.0f} records "
        f"per second ({RECORDS:,} generated records of {PASSAGES} passages).",
        "",
    ]


def _shares(shares: dict[int, dict[str, CacheUse]], arm: str) -> str:
    cells = [f"{shares[c][arm].realised:.3f}" for c in CACHES]
    return f"| {arm} | {' | '.join(cells)} | {shares[CACHES[0]][arm].estimated:.3f} |"


def _timed(timed: dict[str, CacheUse], arm: str) -> str:
    seconds = timed[arm].seconds
    pairs = zip(seconds, timed[ARMS[0]].seconds, strict=True)
    ratios = sorted(mine / random for mine, random in pairs)
    return (
        f"| {arm} | {timed[arm].prefilled:,} | {statistics.median(seconds):.1f} "
        f"| {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}) |"
    )


if __name__ == "__main__":
    described = json.loads(Path(sys.argv[1]).read_text())
    Path(described["out"]).write_text(json.dumps(_answer(described)))
    os._exit(0)  # the engine's shutdown may take minutes
