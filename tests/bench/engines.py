"""Overnight beside vLLM's own offline class, its batch command, `ray.data.llm` and other projects.

The same records, chats, sampling and engine options; every way in a process of its own, in turn,
round after round, with a core for the model's worker and another one for all else.
"""

import statistics
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.bench import peers
from tests.bench.chats import chats_of, shared_first
from tests.bench.contenders import WAYS
from tests.bench.measured import Measured, measured
from tests.support.jobs import BETTER_PROMPT, unpacked, write_jsonl
from tests.support.models import MIDDLING, make_model
from tests.support.structured import as_row, structured

ROUNDS = 5
OURS, GIVEN, OFFLINE = "overnight", "overnight, passages as given", "LLM.generate"
ARRANGED = "LLM.generate, arranged"
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
class Workload:
    """Papers of 28 questions, the tokens of every answer, and the ways that write them."""

    papers: int
    tokens: int
    ways: tuple[str, ...]


SHORT = Workload(10, 32, tuple(WAYS))
LONG = Workload(2, 256, (OURS, GIVEN, OFFLINE, ARRANGED))


@dataclass(frozen=True)
class Figures:
    """Of one way in one round."""

    rate: float  # rows a second
    busy: float
    full: float
    steps: int
    prefilled: int
    outside: float  # processor seconds a row outside the worker

    @classmethod
    def of(cls, measured: Measured, records: int) -> "Figures":
        work = measured.work
        full = work.full(records, OPTIONS["max_num_seqs"], OPTIONS["max_num_batched_tokens"])
        rate, outside = records / work.seconds, measured.outside / records
        return cls(rate, work.busy, full, len(work.steps), work.prefilled, outside)


@dataclass(frozen=True)
class Rounds:
    """The figures of every way, round by round."""

    rounds: list[dict[str, Figures]]

    @property
    def ways(self) -> list[str]:
        return list(self.rounds[0])

    def median(self, way: str, figure: str) -> float:
        return statistics.median(getattr(r[way], figure) for r in self.rounds)

    def ratios(self, one: str, other: str, figure: str = "rate") -> list[float]:
        """One way over another, pair by pair, from the least.

        The least and the most of five rounds hold the median with a probability of 0.94 (the sign
        test's interval).
        """
        pairs = ((getattr(r[one], figure), getattr(r[other], figure)) for r in self.rounds)
        return sorted(a / b for a, b in pairs)


def compare(scratch: Path, load: Workload = SHORT, rounds: int = ROUNDS) -> Rounds:
    """Has every way answer all records, `rounds` times."""
    scratch.mkdir(parents=True)
    records = [record for paper in structured(unpacked(scratch), load.papers) for record in paper]
    shard = write_jsonl(scratch / "shards" / "records.jsonl", list(map(as_row, records)))
    chats, arranged = list(chats_of(records)), list(chats_of(shared_first(records)))
    texts = [message["content"] for _, messages in chats for message in messages]
    task = {
        "model": str(make_model(scratch / "model", MIDDLING, texts=texts)),
        "template": BETTER_PROMPT,
        "records": str(shard),
        "chats": str(write_jsonl(scratch / "chats.jsonl", chats)),
        "arranged": str(write_jsonl(scratch / "arranged.jsonl", arranged)),
        "options": OPTIONS,
        "tokens": load.tokens,
        "gpus": 0,
    }
    ways, count = list(enumerate(filter(_at_hand, load.ways))), len(records)
    return Rounds(
        [
            {way: _figures(way, task, count, scratch / f"{n}-{at}") for at, way in ways}
            for n in range(rounds)
        ]
    )


def _at_hand(way: str) -> bool:
    return way not in peers.PINNED or peers.folder(way) is not None


def _figures(way: str, task: dict[str, object], records: int, folder: Path) -> Figures:
    figures = Figures.of(measured(way, task, folder), records)
    print(f"{way}: {figures}", file=sys.stderr, flush=True)
    return figures


def section(scratch: Path) -> list[str]:
    """Its part of docs/benchmarks.md."""
    rounds = compare(scratch)
    return [
        "## Compared with other ways to run the same model",
        "",
        f"{SHORT.papers} papers of the published corpus with 28 questions each, in their order, "
        "contexts split into passages at blank lines, template `instructions-first`; "
        f"{SHORT.tokens} tokens per answer, a Llama of 25 million random parameters, the CPU build "
        "of vLLM. The model's worker has a core of its own and everything else another one, as a "
        "GPU has cores of its own. All ways have the same records, sampling and engine options "
        f"({_listed(OPTIONS)}) and the prefix cache; each runs in a process of its own, in turn, "
        f"{len(rounds.rounds)} rounds. Overnight runs with `prompt.passages: shared_first`, and "
        "once more with the passages as given, which gives the very prompts the others get; "
        f"`{ARRANGED}` is vLLM's class with the prompts of the former, in its order; "
        "arranging, checks and Parquet are in its time. Figures are between the worker's first "
        "step and its last, medians of the rounds: *busy* is the share of that time in which the "
        "worker computes, *full* the share in which no more could have been in its batch, "
        "*outside* the processor time a row of all else.",
        "",
        *_peers(rounds),
        "",
        _batch_command(rounds),
        "",
        *_tables(rounds),
        "",
        "On a GPU, 8 billion parameters: see [below](#on-a-gpu).",
        "",
    ]


def long_section(scratch: Path) -> list[str]:
    """Its part of docs/benchmarks.md."""
    return [
        "## Long answers",
        "",
        f"The same with {LONG.tokens} tokens an answer, {LONG.papers} papers, in the ways of this "
        "project and in vLLM's own: nearly all steps decode.",
        "",
        *_tables(compare(scratch, LONG)),
        "",
    ]


def _tables(rounds: Rounds) -> list[str]:
    """The figures of all ways, and the ratios of ours to the others."""
    return [
        "| way | rows per second | busy | full | steps | tokens prefilled | outside, ms a row |",
        "|---|---:|---:|---:|---:|---:|---:|",
        *(_row(rounds, way) for way in rounds.ways),
        "",
        "Ratios of rows per second, round by round: median (least to most). The two ends hold the "
        f"true median with a probability of {1 - 2 * 0.5 ** len(rounds.rounds):.2f}.",
        "",
        "| other way | `shared_first` ÷ it | as given ÷ it |",
        "|---|---:|---:|",
        *(
            f"| {way} | {' | '.join(_spread(rounds.ratios(one, way)) for one in (OURS, GIVEN))} |"
            for way in rounds.ways
            if way not in (OURS, GIVEN)
        ),
        "",
        "Busy share over that of `LLM.generate` with the very same prompts, in the same way: "
        f"`shared_first` {_spread(rounds.ratios(OURS, ARRANGED, 'busy'), 3)}, "
        f"as given {_spread(rounds.ratios(GIVEN, OFFLINE, 'busy'), 3)}.",
    ]


def _peers(rounds: Rounds) -> list[str]:
    """What the ways of other projects are, at which versions, and which are not at hand."""
    told = (
        f"`{peers.PINNED[way][0]}` ({what})"
        if way in rounds.ways
        else f"`{way}` is left out, as `{peers.command(way)}` fails"
        for way, what in peers.WAYS.items()
    )
    return [f"Ways of other projects, beside the same vLLM: {'; '.join(told)}."]


def _batch_command(rounds: Rounds) -> str:
    """Whether vLLM's batch command does other work than its class, for the same prompts."""
    prefilled, steps, outside = (
        statistics.median(rounds.ratios("vllm run-batch", OFFLINE, figure))
        for figure in ("prefilled", "steps", "outside")
    )
    return (
        "`vllm run-batch` generates as many tokens from the prompts of `LLM.generate`, prefills "
        f"{prefilled:.3f} of its tokens in {steps:.2f} of its steps, and takes {outside:.2f} of "
        "its processor time outside the worker: where its rows per second differ by more, that is "
        "the machine's doing."
    )


def _row(rounds: Rounds, way: str) -> str:
    rate, busy, full = (rounds.median(way, name) for name in ("rate", "busy", "full"))
    steps, prefilled, outside = (
        rounds.median(way, name) for name in ("steps", "prefilled", "outside")
    )
    return (
        f"| {way} | {rate:.2f} | {busy:.3f} | {full:.3f} | {steps:,.0f} | {prefilled:,.0f} "
        f"| {outside * 1000:.0f} |"
    )


def _listed(options: dict[str, object]) -> str:
    return ", ".join(f"`{name}={value}`" for name, value in options.items())


def _spread(ratios: list[float], digits: int = 2) -> str:
    median, least, most = (
        f"{ratio:.{digits}f}" for ratio in (statistics.median(ratios), ratios[0], ratios[-1])
    )
    return f"{median} ({least} to {most})"
