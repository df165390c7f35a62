"""Overnight beside vLLM's own offline class on the GPU at hand: one command, one JSON file.

    python -m tests.bench.gpu --out gpu.json                       # 8b and 32b, bfloat16 and FP8
    python -m tests.bench.gpu --model Qwen/Qwen3-8B --out mine.json
    python -m tests.bench.gpu --shape tiny --out tiny.json         # no GPU: whether all of it works

The same prompts, sampling and engine options go both ways: once with passages as given, once in the
order that shares most of the prefix cache (`shared_first`). Each measurement is a process of its
own, from the first step of its engine to the last, so that loading and Ray's start do not count;
Overnight's time includes reading, arranging, checks and Parquet. Then `overnight tune` chooses
engine options for the model. What fails (FP8 that does not load, a model that does not fit) is an
entry with its reason, and the rest goes on; the file is written anew after every model.

Records are files as the demo has them: `<paper>_CQ<n>.txt`; by default the published corpus, or the
demo's where that is not at hand. A shape's weights are noise, which takes the same time.
"""

import argparse
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.core.records import Record
from pipeline.store.run_file import versions
from tests.bench import cards
from tests.bench.gpu_parts import ARMS, Part, Task, measure_part
from tests.bench.shapes import SHAPES
from tests.support.jobs import ROOT, Corpus, packed_corpus, unpacked
from tests.support.structured import structured

DEMO = ROOT / "conf/demo/shards/text"

PRECISIONS: dict[str, dict[str, Any]] = {
    "bfloat16": {},
    "fp8": {"quantization": "fp8_per_tensor"},
}
"""Engine options of each; vLLM makes FP8 of the weights when it loads them."""

WITHOUT_GPU = {
    "enforce_eager": True,
    "kv_cache_memory_bytes": 2**28,
    "max_num_seqs": 16,
    "max_num_batched_tokens": 2048,
}
"""Options that keep a build without a GPU small; on a GPU vLLM decides."""


def main() -> None:
    chosen = parser().parse_args()
    print("\n".join(rows(measure(chosen))))


def measure(chosen: argparse.Namespace) -> dict[str, Any]:
    """All parts; the document that `--out` gets, whole after every one of them."""
    gpus = (1 if cards.names() else 0) if chosen.gpus is None else chosen.gpus
    document = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "arguments": {n: str(v) if isinstance(v, Path) else v for n, v in vars(chosen).items()},
        "gpus": gpus,
        "gpu": cards.names(),
        "versions": versions(),
        "parts": [],
    }
    with tempfile.TemporaryDirectory(prefix="overnight-gpu-") as scratch:
        papers = _papers(chosen, Path(scratch))
        document |= {"papers": len(papers), "records": sum(map(len, papers))}
        for number, part in enumerate(parts(chosen, gpus)):
            task = Task(
                papers,
                tuple(chosen.arm or ARMS),
                chosen.tokens,
                gpus,
                chosen.rounds,
                chosen.tune_minutes,
            )
            document["parts"].append(measure_part(part, task, Path(scratch) / str(number)))
            chosen.out.write_text(json.dumps(document, indent=2) + "\n")
    return document


def parts(chosen: argparse.Namespace, gpus: int) -> Iterator[Part]:
    """Every model at every precision: shapes that are named, models that are, or all shapes."""
    shapes = chosen.shape or ([] if chosen.model else ["8b", "32b"])
    options: dict[str, Any] = {"dtype": "bfloat16", "max_model_len": 16_384}
    options |= {} if gpus else WITHOUT_GPU
    given = {name: json.loads(value) for name, _, value in _pairs(chosen.option)}
    noise = {"load_format": "dummy"}
    for name in [*chosen.model, *shapes]:
        shape = None if name in chosen.model else SHAPES[name]
        for precision in chosen.precision or PRECISIONS:
            filled = noise if shape or chosen.dummy else {}
            yield Part(
                name, shape, precision, {**options, **PRECISIONS[precision], **filled, **given}
            )


def _pairs(options: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    return (option.partition("=") for option in options)


def _papers(chosen: argparse.Namespace, scratch: Path) -> Sequence[Sequence[Record]]:
    """The records of the most papers that were asked for."""
    if chosen.records is None and (packed_corpus() / "records.tar.gz").exists():
        return structured(unpacked(scratch), chosen.papers)
    folder = chosen.records or DEMO
    return structured(Corpus(folder, folder), chosen.papers)


def section(scratch: Path) -> list[str]:
    """Its part of docs/benchmarks.md: measured where there is a GPU, else how to fill it."""
    scratch.mkdir(parents=True)
    table = ["| not measured yet: no GPU at hand | | | | | | |"]
    if cards.names():
        command = ["--rounds", "3", "--out", str(scratch / "gpu.json")]
        table = rows(measure(parser().parse_args(command)))
    return [
        "## On a GPU",
        "",
        "`python -m tests.bench.gpu --out gpu.json` on the machine with the GPU: models of the "
        "shapes of Qwen3-8B and Qwen3-32B whose weights are noise, in bfloat16 and in FP8, on the "
        "published corpus or the records of `make demo`; `--model` takes a real one, `--records` a "
        "folder of your own. It writes one JSON file with versions, GPU, arguments and all figures "
        "and prints the rows of this table; a model that does not load or fit is a row with its "
        "reason. Tokens are those of prompts and answers together, cached ones included, per "
        "second and GPU from the engine's first step to its last. ÷ is Overnight over "
        "`LLM.generate` with the same prompts. *Busy* is the share of time in which the driver "
        "saw a kernel run, Overnight's and that of `LLM.generate`, with `shared_first`. The last "
        "column has what `overnight tune` chose.",
        "",
        "| model and GPU | as given: tokens/s | ÷ | `shared_first`: tokens/s | ÷ | busy | `tune` |",
        "|---|---:|---:|---:|---:|---:|---|",
        *table,
        "",
    ]


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.gpu", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--model", action="append", default=[], help="a folder, or a name on the hub"
    )
    parser.add_argument(
        "--shape", action="append", choices=[*SHAPES], help="made on the spot (8b and 32b)"
    )
    parser.add_argument(
        "--precision", action="append", choices=[*PRECISIONS], help="of weights (both)"
    )
    parser.add_argument("--arm", action="append", choices=[*ARMS], help="order of passages (both)")
    parser.add_argument("--dummy", action="store_true", help="noise for a model's weights too")
    parser.add_argument("--records", type=Path, help="folder; corpus or demo by default")
    parser.add_argument("--papers", type=int, default=40, help="most papers (40)")
    parser.add_argument("--tokens", type=int, default=128, help="of every answer (128)")
    parser.add_argument("--rounds", type=int, default=1, help="measurements of each (1)")
    parser.add_argument("--gpus", type=int, help="of the one replica; 1, or 0 where there is none")
    parser.add_argument(
        "--tune-minutes", type=float, default=10, help="for `overnight tune`, a model (10); 0: none"
    )
    parser.add_argument(
        "--option", action="append", default=[], metavar="NAME=JSON", help="of vLLM's engine"
    )
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    return parser


def rows(document: Mapping[str, Any]) -> list[str]:
    """The rows for docs/benchmarks.md, one a part."""
    gpu = f"{document['gpus']} × {(document['gpu'] or ['no GPU'])[0]}"
    return [f"| {' | '.join(_cells(part, gpu))} |" for part in document["parts"]]


def _cells(part: Mapping[str, Any], gpu: str) -> list[str]:
    cells = [f"{part['model']}, {part['precision']}, {gpu}"]
    for arm in ARMS:
        measured = part["arms"].get(arm)
        cells += _rate(measured) if measured else ["", ""]
    busy = part["arms"].get("shared_first", {}).get("busy", {})
    told = part.get("error") or _choice(part["tune"])
    return [*cells, ", ".join(f"{share:.3f}" for share in busy.values()), told.replace("|", "\\|")]


def _rate(arm: Mapping[str, Any]) -> list[str]:
    rates = [m["tokens_per_second_per_gpu"] for m in arm["overnight"]]
    ratios = arm["overnight_over_offline"]
    return [f"{sum(rates) / len(rates):,.0f}", f"{sum(ratios) / len(ratios):.2f}"]


def _choice(tune: Mapping[str, Any] | None) -> str:
    """The engine options that `tune` chose, or why there are none."""
    if tune is None:
        return ""
    if "error" in tune:
        return str(tune["error"])
    better = tune["document"]["recommended"]
    return f"`{json.dumps(better)}`" if better else "nothing better"


if __name__ == "__main__":
    main()
