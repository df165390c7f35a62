"""A model at a precision on the GPU at hand: Overnight, `LLM.generate`, and what `tune` chooses."""

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from pipeline.core.records import Record
from tests.bench import cards
from tests.bench.chats import chats_of, shared_first
from tests.bench.contenders import write_job
from tests.bench.measured import measured
from tests.bench.shapes import Shape, make_shape
from tests.bench.steps import Work
from tests.support.jobs import BETTER_PROMPT, ROOT, write_jsonl
from tests.support.structured import as_row

ARMS = {"as_given": "overnight, passages as given", "shared_first": "overnight"}
"""The passages of each arm, and Overnight's way there."""

OFFLINE = "LLM.generate"


@dataclass(frozen=True)
class Part:
    """A model of a name, or made of a shape, and the engine options that it is measured with."""

    name: str
    shape: Shape | None
    precision: str
    options: dict[str, Any]


@dataclass(frozen=True)
class Task:
    """What all parts have in common."""

    papers: Sequence[Sequence[Record]]
    arms: Sequence[str]
    tokens: int  # of every answer
    gpus: int
    rounds: int
    tune_minutes: float

    @property
    def records(self) -> list[Record]:
        return [record for paper in self.papers for record in paper]


def measure_part(part: Part, task: Task, scratch: Path) -> dict[str, Any]:
    """The part's entry in the document: its arms and `tune`, or the error that ended it."""
    arms: dict[str, Any] = {}
    entry = {
        "model": f"shape {part.name}" if part.shape else part.name,
        "precision": part.precision,
        "options": part.options,
        "arms": arms,
        "tune": None,
    }
    try:
        described = _described(part, task, scratch)
        for arm in task.arms:
            arms[arm] = _arm(arm, described, task, scratch)
        if task.tune_minutes:
            entry["tune"] = _tuned(described, task.tune_minutes, scratch / "tune")
    except Exception as fault:  # whatever ends a part, the next one may still be measured
        entry["error"] = reason(f"{type(fault).__name__}: {fault}")
        print(f"{entry['model']}, {part.precision}: {entry['error']}", file=sys.stderr, flush=True)
    return entry


def _described(part: Part, task: Task, scratch: Path) -> dict[str, Any]:
    """The task as `tests.bench.contenders` takes it."""
    texts = (m["content"] for _, messages in chats_of(task.records) for m in messages)
    model = str(make_shape(scratch / "model", part.shape, texts)) if part.shape else part.name
    rows = list(map(as_row, task.records))
    return {
        "model": model,
        "template": BETTER_PROMPT,
        "records": str(write_jsonl(scratch / "shards/records.jsonl", rows)),
        "options": part.options,
        "tokens": task.tokens,
        "gpus": task.gpus,
    }


def _arm(arm: str, described: dict[str, Any], task: Task, scratch: Path) -> dict[str, Any]:
    """Both ways with the same prompts, in turn, and Overnight over the other round by round.

    vLLM's own class goes first: a model that does not load fails there at once.
    """
    records = task.records if arm == "as_given" else shared_first(task.records)
    chats = str(write_jsonl(scratch / f"{arm}.jsonl", list(chats_of(records))))
    found: dict[str, list[dict[str, Any]]] = {OFFLINE: [], "overnight": []}
    for number in range(task.rounds):
        for name, way in ((OFFLINE, OFFLINE), ("overnight", ARMS[arm])):
            folder = scratch / f"{arm}-{name}-{number}"
            found[name].append(_measurement(way, {**described, "chats": chats}, folder))
            print(f"{arm}: {name}: {found[name][-1]}", file=sys.stderr, flush=True)
    pairs = zip(found["overnight"], found[OFFLINE], strict=True)
    return {
        **found,
        "overnight_over_offline": [b["seconds"] / a["seconds"] for a, b in pairs],
        "busy": {name: fmean(busy) for name in reversed(found) if (busy := _busy(found[name]))},
    }


def _busy(measurements: Iterable[Mapping[str, Any]]) -> list[float]:
    drivers = (measurement["driver"] or {} for measurement in measurements)
    return [driver["busy"] for driver in drivers if "busy" in driver]


def _measurement(way: str, described: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Raises `RuntimeError` with the reason that the way's log tells."""
    gpus = max(described["gpus"], 1)
    with cards.sampled() as samples:
        try:
            work = measured(way, described, folder, pinned=False).work
        except RuntimeError as fault:
            log = (folder / "log.txt").read_text(errors="replace")
            raise RuntimeError(f"{way}: {reason(log)}") from fault
    driver = cards.means(samples, work.span, gpus)
    return {**_rates(_tokens(folder), work, gpus), "driver": driver}


def _rates(tokens: Mapping[str, int], work: Work, gpus: int) -> dict[str, Any]:
    """Tokens, and tokens per second per GPU: prompt and completion, each cached one included.

    `calls` is the share of time within the worker's calls; on a GPU they end before its kernels do.
    """
    rate = (tokens["prompt"] + tokens["completion"]) / work.seconds / gpus
    each = {f"{kind}_per_second_per_gpu": n / work.seconds / gpus for kind, n in tokens.items()}
    return {
        "seconds": work.seconds,
        "tokens": tokens,
        "tokens_per_second_per_gpu": rate,
        **each,
        "steps": len(work.steps),
        "prefilled": work.prefilled,
        "calls": work.busy,
    }


def _tokens(folder: Path) -> dict[str, int]:
    """Tokens by kind, as the way has counted them."""
    if (folder / "tokens.json").exists():
        return dict(json.loads((folder / "tokens.json").read_text()))
    sums = json.loads((folder / "run.json").read_text())["sums"]
    return {kind: sums[f"{kind}_tokens"] for kind in ("prompt", "cached", "completion")}


def _tuned(described: dict[str, Any], minutes: float, folder: Path) -> dict[str, Any]:
    """What `overnight tune` answers for the job, as it is; or why it does not."""
    folder.mkdir()
    file = write_job({**described, "folder": str(folder)}, "shared_first")
    command = [sys.executable, "-m", "jobs", "tune", str(file), "--json", "--minutes", f"{minutes}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"error": f"tune: exit code {done.returncode}: {reason(done.stderr)}"}
    return {"document": json.loads(done.stdout)}


def reason(log: str) -> str:
    """The first exceptions that a log names, each once; else its last line.

    That a command failed says nothing beside what the command itself has said.
    """
    named = re.findall(r"(?<![\w.])(?!\S*CalledProcessError)[\w.]*(?:Error|Exception): .+", log)
    told = list(dict.fromkeys(named))[:2] or log.strip().splitlines()[-1:]
    return "; ".join(told)[:400]
