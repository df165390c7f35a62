"""Overnight beside vLLM's own offline class on the GPU at hand, in tokens per second per GPU.

The same prompts, sampling and engine options go both ways: once with passages as given, once in the
order that shares most of the prefix cache (`shared_first`). Each measurement is a process of its
own, from the first step of its engine to the last, so that loading and Ray's start do not count;
Overnight's time includes reading, arranging, checks and Parquet.

    python -m tests.bench.gpu --shape 8b --dummy --records records/ --out 8b.json
    python -m tests.bench.gpu --model Qwen/Qwen3-8B --out mine.json
    python -m tests.bench.gpu --shape tiny --out tiny.json     # no GPU: whether all of it works

Records are files as the demo has them: `<paper>_CQ<n>.txt`. With `--dummy` vLLM fills the weights
with noise, which takes the same time; a shape has no others.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.config.schema import Answer
from pipeline.core.records import Prompt, Record
from pipeline.prompting.passage_order import arranged
from pipeline.prompting.template import load_prompt, render
from pipeline.store.run_file import versions
from tests.bench.measured import measured
from tests.bench.shapes import SHAPES, make_shape
from tests.support.jobs import BETTER_PROMPT, ROOT, Corpus, write_jsonl
from tests.support.structured import as_row, structured

DEMO = ROOT / "conf/demo/shards/text"

ARMS = {"as_given": "overnight, passages as given", "shared_first": "overnight"}
"""The passages of each arm, and Overnight's way there."""

OFFLINE = "LLM.generate"

WITHOUT_GPU = {
    "enforce_eager": True,
    "kv_cache_memory_bytes": 2**28,
    "max_num_seqs": 16,
    "max_num_batched_tokens": 2048,
}
"""Options that keep a build without a GPU small; on a GPU vLLM decides."""


def main() -> None:
    chosen = _parser().parse_args()
    document = measure(chosen)
    chosen.out.write_text(json.dumps(document, indent=2) + "\n")
    print(_row(document))


def measure(chosen: argparse.Namespace) -> dict[str, Any]:
    """All arms and ways; the document that `--out` gets."""
    gpus = _gpus() if chosen.gpus is None else chosen.gpus
    with tempfile.TemporaryDirectory(prefix="overnight-gpu-") as scratch:
        papers = structured(Corpus(chosen.records, chosen.records), chosen.papers)
        task = _task(chosen, papers, gpus, Path(scratch))
        arms = {arm: _arm(arm, task, papers, chosen.rounds, Path(scratch)) for arm in ARMS}
    return {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "arguments": {n: str(v) if isinstance(v, Path) else v for n, v in vars(chosen).items()},
        "gpus": gpus,
        "gpu": _gpu_names(),
        "versions": versions(),
        "options": task["options"],
        "papers": len(papers),
        "records": sum(map(len, papers)),
        "arms": arms,
    }


def section(scratch: Path) -> list[str]:
    """Its part of docs/benchmarks.md: measured where there is a GPU, else how to fill it."""
    command = ["--shape", "8b", "--dummy", "--rounds", "3", "--out", str(scratch / "8b.json")]
    row = "| not measured yet: no GPU at hand | | | | |"
    if _gpu_names():
        row = _row(measure(_parser().parse_args(command)))
    return [
        "## On a GPU",
        "",
        "`python -m tests.bench.gpu --shape 8b --dummy --out 8b.json` on the machine with the GPU: "
        "a model of Qwen3-8B's shape whose weights are noise, on the records of `make demo` or of "
        "`--records FOLDER`; `--model` takes a real one. It writes one JSON file with versions, "
        "GPU, arguments and all figures, and prints a row of this table. Tokens are those of "
        "prompts and answers together, cached ones included, per second and GPU from the engine's "
        "first step to its last. ÷ is Overnight over `LLM.generate` with the same prompts.",
        "",
        "| model and GPU | as given: tokens/s | ÷ | `shared_first`: tokens/s | ÷ |",
        "|---|---:|---:|---:|---:|",
        row,
        "",
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.gpu", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    model = parser.add_mutually_exclusive_group(required=True)
    model.add_argument("--model", help="a folder, or a name on the hub")
    model.add_argument("--shape", choices=[*SHAPES], help="a model made on the spot, of this shape")
    parser.add_argument("--dummy", action="store_true", help="noise for weights (all shapes)")
    parser.add_argument("--records", type=Path, default=DEMO, help="folder; the demo's by default")
    parser.add_argument("--papers", type=int, default=40, help="most papers (40)")
    parser.add_argument("--tokens", type=int, default=128, help="of every answer (128)")
    parser.add_argument("--rounds", type=int, default=1, help="measurements of each (1)")
    parser.add_argument("--gpus", type=int, help="of the one replica; 1, or 0 where there is none")
    parser.add_argument(
        "--option", action="append", default=[], metavar="NAME=JSON", help="of vLLM's engine"
    )
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    return parser


def _task(
    chosen: argparse.Namespace, papers: Sequence[Sequence[Record]], gpus: int, scratch: Path
) -> dict[str, Any]:
    """What all measurements have in common; see `tests.bench.contenders`."""
    records = [record for paper in papers for record in paper]
    texts = (m["content"] for _, messages in _chats(records) for m in messages)
    model = chosen.model or str(make_shape(scratch / "model", SHAPES[chosen.shape], texts))
    options: dict[str, Any] = {"dtype": "bfloat16", "max_model_len": 16_384}
    options |= {} if gpus else WITHOUT_GPU
    options |= {"load_format": "dummy"} if chosen.shape or chosen.dummy else {}
    options |= {name: json.loads(value) for name, _, value in _pairs(chosen.option)}
    return {
        "model": model,
        "template": BETTER_PROMPT,
        "records": str(write_jsonl(scratch / "shards/records.jsonl", list(map(as_row, records)))),
        "options": options,
        "tokens": chosen.tokens,
        "gpus": gpus,
    }


def _pairs(options: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    return (option.partition("=") for option in options)


def _chats(records: Iterable[Record]) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """Every record's id and messages, with its passages as given."""
    source = load_prompt(BETTER_PROMPT, Answer())
    for record in records:
        messages, _ = render(source, record)
        yield record.record_id, [message._asdict() for message in messages]


def _shared_first(papers: Iterable[Sequence[Record]]) -> list[Record]:
    """The records with their passages in the order that Overnight would give them."""
    source = load_prompt(BETTER_PROMPT, Answer())
    prompts = [
        Prompt(record, render(source, record)[0], "", "", str(number))
        for number, record in enumerate(record for paper in papers for record in paper)
    ]
    return [prompt.record for prompt in arranged(prompts, source)]


def _arm(
    arm: str,
    task: Mapping[str, Any],
    papers: Sequence[Sequence[Record]],
    rounds: int,
    scratch: Path,
) -> dict[str, Any]:
    """Both ways with the same prompts, in turn, and Overnight over the other round by round."""
    given = [record for paper in papers for record in paper]
    records = given if arm == "as_given" else _shared_first(papers)
    chats = write_jsonl(scratch / f"{arm}.jsonl", list(_chats(records)))
    rates: dict[str, list[dict[str, Any]]] = {"overnight": [], OFFLINE: []}
    for number in range(rounds):
        for name, way in (("overnight", ARMS[arm]), (OFFLINE, OFFLINE)):
            folder = scratch / f"{arm}-{name}-{number}"
            work = measured(way, {**task, "chats": str(chats)}, folder, pinned=False).work
            rates[name].append(_rates(_tokens(folder), work.seconds, max(task["gpus"], 1)))
            print(f"{arm}: {name}: {rates[name][-1]}", file=sys.stderr, flush=True)
    pairs = zip(rates["overnight"], rates[OFFLINE], strict=True)
    return {**rates, "overnight_over_offline": [b["seconds"] / a["seconds"] for a, b in pairs]}


def _tokens(folder: Path) -> dict[str, int]:
    """Tokens by kind, as the way has counted them."""
    if (folder / "tokens.json").exists():
        return dict(json.loads((folder / "tokens.json").read_text()))
    sums = json.loads((folder / "run.json").read_text())["sums"]
    return {kind: sums[f"{kind}_tokens"] for kind in ("prompt", "cached", "completion")}


def _rates(tokens: Mapping[str, int], seconds: float, gpus: int) -> dict[str, Any]:
    """Tokens, and tokens per second per GPU: prompt and completion, each cached one included."""
    rate = (tokens["prompt"] + tokens["completion"]) / seconds / gpus
    each = {f"{kind}_per_second_per_gpu": n / seconds / gpus for kind, n in tokens.items()}
    return {"seconds": seconds, "tokens": tokens, "tokens_per_second_per_gpu": rate, **each}


def _gpus() -> int:
    return 1 if _gpu_names() else 0


def _gpu_names() -> list[str]:
    """Name, memory and driver of each GPU here, as NVIDIA's tool tells them."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    query = [tool, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    done = subprocess.run(query, capture_output=True, text=True, check=False)
    return done.stdout.splitlines() if done.returncode == 0 else []


def _row(document: Mapping[str, Any]) -> str:
    """A row for docs/benchmarks.md."""
    arguments, arms = document["arguments"], document["arms"]
    model = arguments["model"] or f"shape {arguments['shape']}"
    cells = [f"{model}, {document['gpus']} × {(document['gpu'] or ['no GPU'])[0]}"]
    for arm in ARMS:
        rates = [m["tokens_per_second_per_gpu"] for m in arms[arm]["overnight"]]
        ratios = arms[arm]["overnight_over_offline"]
        cells += [f"{sum(rates) / len(rates):,.0f}", f"{sum(ratios) / len(ratios):.2f}"]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
