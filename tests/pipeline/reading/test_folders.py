"""Columns that folders give, in every format."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from pipeline.core.filesystem import Storage
from pipeline.reading.shards import list_shards
from tests.support.hostile import record_line, text_file
from tests.support.shards import read_path
from tests.support.tables import FORMATS

ROW = {"id": "a", "question": "Which lamp?", "passages": ["Amber."]}


def fill(root: Path, path: str, data: bytes) -> Path:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(data)
    return root


def extra(root: Path | str, **fields: str) -> dict[str, Any]:
    (record,) = read_path(root, fields=fields).records
    return dict(orjson.loads(record["extra"] or b"{}"))


@pytest.mark.parametrize("ending", FORMATS)
def test_folders_give_columns_in_every_format(tmp_path: Path, ending: str) -> None:
    fill(tmp_path, f"year=2024/region=north/part.{ending}", FORMATS[ending]([ROW]))

    assert extra(tmp_path) == {"year": "2024", "region": "north"}


def test_folders_give_columns_to_text_files_and_lines_of_batches(tmp_path: Path) -> None:
    answer = b'{"custom_id": "a", "response": {"body": {"choices": [{"text": "Amber."}]}}}\n'
    request = b'{"custom_id": "a", "body": {"prompt": "Lamp?"}}\n'
    fill(tmp_path / "text", "year=2024/a_CQ1.txt", text_file().encode())
    fill(tmp_path / "answers", "year=2024/a.jsonl", answer)
    fill(tmp_path / "requests", "year=2024/a.jsonl", request)

    for kind in ("text", "answers", "requests"):
        assert extra(tmp_path / kind)["year"] == "2024"


@pytest.mark.parametrize(
    ("folder", "columns"),
    [
        ("month=01", {"month": "01"}),
        ("place=North%20Sea%2FKelp", {"place": "North Sea/Kelp"}),
        ("na%3Dme=a=b", {"na=me": "a=b"}),
        ("region=__HIVE_DEFAULT_PARTITION__", {"region": None}),
        ("region=", {"region": ""}),
        ("=north", {}),
        ("plain", {}),
        ("year=1/year=2", {"year": "2"}),
    ],
)
def test_a_folder_s_column_is_text(tmp_path: Path, folder: str, columns: dict[str, Any]) -> None:
    fill(tmp_path, f"{folder}/a=b.jsonl", record_line("a"))

    assert extra(tmp_path) == columns


def test_a_column_of_the_file_wins(tmp_path: Path) -> None:
    fill(tmp_path, "year=2024/a.jsonl", record_line("a", year=1911))

    assert extra(tmp_path) == {"year": 1911}


def test_a_folder_can_hold_a_field_of_ours_or_a_mapped_one(tmp_path: Path) -> None:
    fill(tmp_path / "ours", "paper_id=kelp/a.jsonl", record_line("a"))
    fill(tmp_path / "mapped", "doi=10.5555%2Fx/a.jsonl", record_line("a"))

    (ours,) = read_path(tmp_path / "ours").records
    (mapped,) = read_path(tmp_path / "mapped", fields={"paper_id": "doi"}).records

    assert (ours["paper_id"], ours["extra"]) == ("kelp", None)
    assert mapped["paper_id"] == "10.5555/x"
    assert orjson.loads(mapped["extra"]) == {"doi": "10.5555/x"}


@pytest.mark.parametrize("uri", ["", "/year=2024", "/year=2024/a.jsonl", "/year=*/*.jsonl", "/**"])
def test_a_narrower_uri_keeps_the_columns_that_it_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    fill(tmp_path, "not=ours/in/year=2024/a.jsonl", record_line("a"))
    monkeypatch.chdir(tmp_path / "not=ours")

    assert extra(f"in{uri}") == {"year": "2024"}


def test_what_stands_above_the_written_uri_gives_no_column(tmp_path: Path) -> None:
    fill(tmp_path, "in/a.jsonl", record_line("a"))

    (shard,) = list_shards(f"file://{tmp_path}/in/", Storage()).shards

    assert shard.folders == {}
