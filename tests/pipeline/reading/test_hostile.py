"""Hostile files: each loses only what is damaged, and none stops a job."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

from pipeline.core.records import PAYLOAD_BYTES
from tests.support.hostile import (
    MAX_RECORD_BYTES,
    PLACE,
    Expected,
    hostile_files,
    make_hostile_folder,
)
from tests.support.shards import faults, read_path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile")


@pytest.fixture(scope="module")
def expectations(folder: Path) -> Mapping[str, Expected]:
    return make_hostile_folder(folder)


@pytest.mark.parametrize("name", hostile_files())
def test_a_hostile_file_gives_the_expected_records_and_rejects(
    name: str, folder: Path, expectations: Mapping[str, Expected]
) -> None:
    expected = expectations[name]
    path = folder / name

    reading = read_path(path, MAX_RECORD_BYTES)

    uri = f"file://{path}"
    assert faults(reading) == list(expected.rejects)
    assert len(reading.records) == expected.records
    if expected.ids is not None:
        assert [r["record_id"] for r in reading.records] == [
            i.replace(PLACE, uri) for i in expected.ids
        ]
    assert {c for r in reading.records for c in r["input_repairs"]} == set(expected.repairs)
    assert {r["source_uri"] for r in reading.records + reading.rejects} == {uri}
    for reject in reading.rejects:
        assert reject["detail"].strip()
        assert reject["record_id"]
        assert len(reject["payload"]) <= PAYLOAD_BYTES
    assert sum(t["read"] for t in reading.counts) == len(reading.records) + len(reading.rejects)
    assert sum(t["stored_bytes"] for t in reading.counts) == path.stat().st_size


def test_a_whole_hostile_folder_gives_the_sum_of_its_files(
    folder: Path, expectations: Mapping[str, Expected]
) -> None:
    reading = read_path(folder, MAX_RECORD_BYTES)

    assert len(reading.records) == sum(e.records for e in expectations.values())
    assert Counter((r["source_uri"], r["source_row"], r["reason"]) for r in reading.rejects) == (
        Counter((f"file://{folder / n}", *f) for n, e in expectations.items() for f in e.rejects)
    )
    assert sum(t["read"] for t in reading.counts) == len(reading.records) + len(reading.rejects)
    assert sum(t["stored_bytes"] for t in reading.counts) == sum(
        (folder / name).stat().st_size for name in expectations
    )


def test_the_hostile_folder_is_the_same_every_time(tmp_path: Path) -> None:
    hostile_files.cache_clear()
    make_hostile_folder(tmp_path / "a")
    hostile_files.cache_clear()
    make_hostile_folder(tmp_path / "b")

    a, b = ({p.name: p.read_bytes() for p in (tmp_path / x).iterdir()} for x in "ab")
    assert len(a) >= 45
    assert a == b


def test_the_hostile_folder_covers_every_reason_of_reading_but_a_vanished_file() -> None:
    reasons = {reason for file in hostile_files().values() for _, reason in file.expected.rejects}

    assert reasons == {
        "invalid_json",
        "invalid_csv",
        "wrong_type",
        "missing_field",
        "not_utf8",
        "too_large",
        "unparsable_text",
        "empty_file",
        "truncated",
        "corrupt",
        "unknown_kind",
    }
