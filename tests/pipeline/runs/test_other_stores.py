"""Whole runs on `gs://` and `az://`, and from one scheme to another: on emulators, and real S3."""

import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path
from typing import Any

import boto3
import orjson
import pyarrow.parquet as pq
import pytest

from pipeline.config.schema import Job
from pipeline.core.filesystem import Location, Storage
from pipeline.engines.model_files import ModelSpec, model_files
from pipeline.results.export.files import export_records
from pipeline.runs.doctor import Diagnosis, diagnose
from pipeline.store import read_answers
from pipeline.store.compaction import compact
from pipeline.store.parts import list_parts
from pipeline.store.runs import all_runs
from tests.support.emulators import Emulator
from tests.support.jobs import (
    BETTER_PROMPT,
    ROOT,
    S3,
    counts,
    job,
    job_file,
    rows,
    run,
    write_jsonl,
)

RECORDS, ROWS_PER_FILE = 60, 10


def shard_bytes(folder: Path) -> dict[str, bytes]:
    """Records as objects, by key: three shards."""
    return {
        f"in/{at:02}.jsonl": write_jsonl(
            folder / f"{at}.jsonl", rows(range(at, at + 20))
        ).read_bytes()
        for at in range(0, RECORDS, 20)
    }


def job_in(emulator: Emulator, bucket: str, **sections: Any) -> Job:
    uris = emulator.uri(f"{bucket}/in/"), emulator.uri(f"{bucket}/store")
    return job(*uris, ROWS_PER_FILE, storage=emulator.storage(), **sections)


def stored(store: Location) -> Counter[str]:
    """How often each record is in the parts, superseded rows included."""
    found: Counter[str] = Counter()
    for path in list_parts(store.join("answers")):
        with store.fs.open(path, "rb") as file:
            found.update(
                pq.read_table(file, page_checksum_verification=True)["record_id"].to_pylist()
            )
    return found


def once(times: int = 1) -> dict[str, int]:
    return {row["record_id"]: times for row in rows(range(RECORDS))}


KILLED = """
import os, sys
from pipeline.config.loading import load_job
from pipeline.core.filesystem import Location
from tests.support.jobs import run

parts, write = int(sys.argv[2]), Location.write_whole

def until_killed(self, data):
    global parts
    if "/answers/" in self.path:
        if parts == 0:
            os._exit(9)
        parts -= 1
    write(self, data)

Location.write_whole = until_killed
run(load_job(sys.argv[1]))
"""
"""A run in a process of its own, which ends without a word before it writes the n-th part."""


def kill_after(parts: int, a_job: Job, folder: Path) -> None:
    file = job_file(folder / "job.yaml", a_job)
    command = [sys.executable, "-c", KILLED, str(file), str(parts)]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 9


def test_a_kill_a_run_another_a_backfill_and_a_compaction_have_each_record_once(
    emulator: Emulator, tmp_path: Path
) -> None:
    bucket = emulator.bucket(f"nights-{tmp_path.name}", shard_bytes(tmp_path))
    a_job = job_in(emulator, bucket)
    store = emulator.at(f"{bucket}/store")

    kill_after(2, a_job, tmp_path)
    kept = len(stored(store))
    (killed,) = all_runs(store)
    assert (kept, killed["status"]) == (2 * ROWS_PER_FILE, "running")

    assert counts(run(a_job)) == {"read": RECORDS, "current": kept, "answered": RECORDS - kept}
    assert stored(store) == once()
    assert counts(run(a_job)) == {"read": RECORDS, "current": RECORDS}

    edited = tmp_path / "edited.md"
    text = Path(BETTER_PROMPT).read_text()
    edited.write_text(text.replace("version: ", "version: 1").rstrip() + "\n\nBe brief.\n")
    backfilled = job_in(emulator, bucket, prompt=str(edited))
    assert counts(run(backfilled)) == {"read": RECORDS, "answered": RECORDS}
    assert stored(store) == once(2)

    done = compact(store, datetime.now(UTC))
    assert (done.parts_after, done.rows) == (1, 2 * RECORDS)
    assert len(list_parts(store.join("answers"))) == 1
    assert stored(store) == once(2)
    assert counts(run(a_job)) == counts(run(backfilled)) == {"read": RECORDS, "current": RECORDS}
    counting = read_answers(store.uri, emulator.storage()).to_table(columns=["record_id"])
    assert Counter(counting["record_id"].to_pylist()) == once(2)  # by two prompts


def test_a_store_that_may_only_grow_is_written_by_creation_alone(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = emulator.bucket(f"grow-{tmp_path.name}", shard_bytes(tmp_path))
    a_job = job_in(emulator, bucket)
    a_job = a_job.model_copy(
        update={"output": a_job.output.model_copy(update={"append_only": True})}
    )
    modes: list[str | None] = []
    fs = emulator.at(bucket).fs
    write = fs.pipe_file

    def seen(path: str, data: bytes, **options: Any) -> Any:
        modes.append(options.get("mode"))
        return write(path, data, **options)

    monkeypatch.setattr(fs, "pipe_file", seen)
    assert counts(run(a_job, "night")) == {"read": RECORDS, "answered": RECORDS}
    assert counts(run(a_job, "night")) == {"read": RECORDS, "current": RECORDS}

    assert set(modes) == {"create"}
    names = {path.rpartition("/")[2] for path in emulator.at(f"{bucket}/store/runs/night").files()}
    assert names >= {"started.json", "run.json", "started-2.json", "run-2.json"}
    assert stored(emulator.at(f"{bucket}/store")) == once()


@pytest.fixture
def servers(
    gcs_emulator: Emulator, azurite_emulator: Emulator, moto_s3: S3, tmp_path: Path
) -> dict[str, Any]:
    """A bucket of the same name with the shards on each, and the options of all three."""
    name = gcs_emulator.bucket(f"across-{tmp_path.name}", files := shard_bytes(tmp_path))
    azurite_emulator.bucket(name, files)
    client: Any = boto3.client("s3", endpoint_url=moto_s3.endpoint)
    client.create_bucket(Bucket=name)
    for key, body in files.items():
        client.put_object(Bucket=name, Key=key, Body=body)
    storage = {"s3": moto_s3.storage(), **gcs_emulator.storage(), **azurite_emulator.storage()}
    return {"bucket": name, "storage": storage}


@pytest.mark.parametrize(
    ("source", "target"), [("gs", "az"), ("az", "s3"), ("s3", "gs"), ("gs", "")]
)
def test_input_and_output_may_be_of_different_schemes(
    servers: dict[str, Any], source: str, target: str, tmp_path: Path
) -> None:
    bucket, options = servers["bucket"], servers["storage"]
    to = f"{target}://{bucket}" if target else str(tmp_path / "out")
    a_job = job(f"{source}://{bucket}/in/", f"{to}/store", ROWS_PER_FILE, storage=options)

    assert counts(run(a_job)) == {"read": RECORDS, "answered": RECORDS}
    assert counts(run(a_job)) == {"read": RECORDS, "current": RECORDS}

    storage = Storage(options)
    store = storage.at(f"{to}/store")
    assert stored(store) == once()
    exported = f"{source}://{bucket}/answers.csv"
    assert export_records(store, exported, storage) == RECORDS
    assert storage.at(exported).found()


def test_a_model_is_fetched_from_any_scheme(servers: dict[str, Any], tmp_path: Path) -> None:
    storage = Storage(servers["storage"])
    for scheme in ("gs", "az"):
        uri = f"{scheme}://{servers['bucket']}/models/heron"
        for name, data in {"config.json": b"{}", "deep/tokenizer.json": b"[]"}.items():
            storage.at(f"{uri}/{name}").write_whole(data)
        spec = ModelSpec(uri, storage=orjson.dumps(servers["storage"]).decode())
        folder = Path(model_files(spec, weights=True).where)
        assert (folder / "config.json").read_bytes() == b"{}"
        assert (folder / "deep/tokenizer.json").read_bytes() == b"[]"


def test_doctor_tries_to_write_and_says_what_is_missing(emulator: Emulator, tmp_path: Path) -> None:
    bucket = emulator.bucket(f"doctor-{tmp_path.name}", shard_bytes(tmp_path))
    said = diagnosed(job_in(emulator, bucket))
    assert (said["input"].exit_code, said["output"].exit_code) == (0, 0)
    assert emulator.at(f"{bucket}/store").files() == {}

    said = diagnosed(job_in(emulator, "no-such-place"))
    assert (said["input"].exit_code, said["output"].exit_code) == (2, 3)
    assert "there is no such" in said["output"].message


def diagnosed(a_job: Job) -> dict[str, Diagnosis]:
    """What is said of input and output, before the checks that need a cluster."""
    return {d.name: d for d in takewhile(lambda d: d.name != "records", diagnose(a_job))}
