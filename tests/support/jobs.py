"""Records, jobs and commands for tests."""

import fcntl
import json
import os
import pty
import re
import socket
import struct
import subprocess
import sys
import tarfile
import tempfile
import termios
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from pipeline.answering.checks import check_names
from pipeline.answering.prepare import prepare
from pipeline.cluster.in_process import InProcess
from pipeline.cluster.ray_data import RayData
from pipeline.config.schema import Job
from pipeline.config.selection import Selection, select
from pipeline.core.records import Passage, Place, Record
from pipeline.runs.execute import execute
from pipeline.runs.plan import WorkPlan, make_plan

ROOT = Path(__file__).parents[2]
WORKER_INSIDE = "vllm.v1.executor.uniproc_executor.UniProcExecutor"
"""Runs the model in the engine's process, as on one GPU; the CPU build would start another."""

SMALL_ENGINE = {
    "distributed_executor_backend": WORKER_INSIDE,
    "dtype": "bfloat16",
    "enforce_eager": True,
    "kv_cache_memory_bytes": 2**28,
    "max_num_seqs": 16,
    "max_num_batched_tokens": 2048,
}
"""Engine options that start fast and take little memory."""

BETTER_PROMPT = str(ROOT / "conf/prompts/instructions-first.md")


@dataclass(frozen=True)
class S3:
    """A running S3 server; `folder` holds its buckets, if they are on this disk."""

    endpoint: str
    folder: Path | None = None

    def storage(self) -> dict[str, Any]:
        return {"endpoint_url": self.endpoint}


@dataclass(frozen=True)
class Server:
    url: str


@dataclass(frozen=True)
class Corpus:
    packed: Path
    records: Path


@dataclass(frozen=True)
class ShownRun:
    """What a terminal showed of a run, its document, and the nodes' metrics right after it."""

    screen: str
    document: dict[str, Any]
    metrics: list[str]


def packed_corpus() -> Path:
    """The folder of the published corpus, by default beside the repository: `OVERNIGHT_CORPUS`."""
    return Path(os.environ.get("OVERNIGHT_CORPUS", ROOT.parent / "shared" / "corpus"))


def unpacked(folder: Path) -> Corpus:
    """The published corpus with its records unpacked below `folder`."""
    with tarfile.open(packed_corpus() / "records.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return Corpus(packed_corpus(), folder / "records")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def record(number: int = 0, **fields: Any) -> Record:
    return Record(
        **{
            "record_id": f"paper-{number // 6}_Q{number % 6}",
            "place": Place("file:///shard.jsonl", number),
            "paper_id": f"paper-{number // 6}",
            "question_id": f"Q{number % 6}",
            "question": f"How many herons nested at pond {number}?",
            "passages": (
                Passage(f"At pond {number} we counted {number + 3} herons on their nests.", "p. 2"),
                Passage("Rain fell on most days of the survey.", "p. 3"),
            ),
            **fields,
        }
    )


def rows(numbers: Iterable[int]) -> list[dict[str, Any]]:
    """Records as the rows of a JSONL or Parquet shard."""
    return [
        {
            "record_id": r.record_id,
            "paper_id": r.paper_id,
            "question_id": r.question_id,
            "question": r.question,
            "passages": [{"text": p.text, "source": p.source} for p in r.passages],
            "recorded_answer": f"Answer:::\nThere were {n + 3} herons at pond {n}.\nAnswer:::",
        }
        for n, r in ((n, record(n)) for n in numbers)
    ]


def write_jsonl(path: Path, lines: Sequence[Mapping[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def job(uri: str | Path, store: str | Path, rows_per_file: int = 1000, **sections: Any) -> Job:
    return Job.model_validate(
        {
            "name": "test",
            "input": {"uri": str(uri)},
            "prompt": BETTER_PROMPT,
            "output": {"uri": str(store), "rows_per_file": rows_per_file},
            **sections,
        }
    )


def vllm_job(
    model: str | Path,
    uri: str | Path = "shards",
    store: str | Path = "store",
    options: Mapping[str, Any] | None = None,
    **sections: Any,
) -> Job:
    """A job for the CPU build of vLLM, with a small engine."""
    engine = {
        "kind": "vllm",
        "model": str(model),
        "gpus_per_replica": 0,
        **sections.pop("engine", {}),
        "options": {**SMALL_ENGINE, **(options or {})},
    }
    sections.setdefault("failure_budget", 1.0)
    return job(uri, store, sections.pop("rows_per_file", 50), engine=engine, **sections)


def run(job_: Job, run_id: str | None = None, **selected: Any) -> dict[str, Any]:
    """One run of a job, or of the selected part of it, in this process."""
    return execute(prepare(job_, selection(job_, **selected)), InProcess(), run_id=run_id)


def run_on_cluster(job_: Job, run_id: str | None = None, **selected: Any) -> dict[str, Any]:
    """One run with Ray Data, on the cluster that the test has joined."""
    return execute(prepare(job_, selection(job_, **selected)), RayData(job_.engine), run_id=run_id)


def plan(job_: Job, examples: int = 0, **selected: Any) -> WorkPlan:
    """What a run of a job, or of the selected part of it, would do."""
    return make_plan(prepare(job_, selection(job_, **selected)), InProcess(), ignore, examples)


def selection(job_: Job, **selected: Any) -> Selection:
    return select(**selected, known_checks=check_names(job_.checks))


def counts(document: Mapping[str, Any]) -> dict[str, int]:
    """A run's records by state, without the states that hold none."""
    return {state: n for state, n in document["counts"].items() if n}


def ignore(progress: object) -> None:
    """A watcher that does nothing."""


def stored(folder: Path, kind: str = "answers") -> pa.Table:
    """Every row of a local store, including superseded ones."""
    return pa.concat_tables(pq.read_table(part) for part in sorted((folder / kind).glob("part-*")))


def processes_titled(title: str) -> Iterator[psutil.Process]:
    """Descendants of this process whose title begins like this."""
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if " ".join(process.cmdline()).startswith(title):
                yield process


def job_file(path: Path, job_: Job) -> Path:
    path.write_text(yaml.safe_dump(job_.model_dump(mode="json", exclude_none=True)))
    return path


def overnight(
    *arguments: object, address: str | None = None, timeout: float = 120, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Runs a command in a process of its own, on the cluster at `address` or one of its own."""
    return subprocess.run(
        [sys.executable, "-m", "jobs", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=ROOT,
        env={**os.environ, **({"RAY_ADDRESS": address} if address else {}), **environment},
        check=False,
    )


def on_a_terminal(*arguments: object, address: str, timeout: float = 60) -> tuple[str, str]:
    """Runs a command on a terminal of 80 columns; returns what it shows there, without control
    sequences, and its standard output, which is redirected.
    """
    screen, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "jobs", *map(str, arguments)],
            cwd=ROOT,
            stderr=terminal,
            stdout=out,
            env={**environment, "RAY_ADDRESS": address, "TERM": "xterm"},
        )
        os.close(terminal)
        text = _read_all(screen)
        assert process.wait(timeout) == 0
        out.seek(0)
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text), out.read().decode()


def _read_all(descriptor: int) -> str:
    """What is written to a terminal until its last writer closes it."""
    pieces = []
    with suppress(OSError):  # how Linux reports the end
        while piece := os.read(descriptor, 65536):
            pieces.append(piece)
    os.close(descriptor)
    return b"".join(pieces).decode(errors="replace")
