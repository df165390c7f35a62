"""Shards whose bytes are looked at first: what nobody knows is read as if nobody had been asked."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from pipeline.config.schema import Input
from pipeline.core.errors import StorageError
from pipeline.core.filesystem import Storage
from pipeline.core.records import ItemBlock, WholeShard
from pipeline.reading import source, whole_shards
from pipeline.reading.shards import Shard, list_shards
from pipeline.reading.source import read_blocks
from pipeline.reading.whole_shards import read_unless_known
from tests.support.hostile import hostile_files, record_lines
from tests.support.shards import as_reading

STORAGE = Storage()
MANY, FEW = record_lines(40), record_lines(2)


@pytest.fixture(autouse=True)
def some_shards_are_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole_shards, "SMALL_SHARD_BYTES", len(FEW))
    monkeypatch.setattr(source, "BLOCK_RECORDS", 15)


def shards_of(folder: Path) -> list[Shard]:
    return list(list_shards(str(folder), STORAGE).shards)


def read(
    folder: Path,
    known: Callable[[WholeShard], str | None],
    enough: Callable[[], bool] = lambda: False,
) -> list[ItemBlock | str]:
    blocks = partial(read_blocks, spec=Input(uri=str(folder)), storage=STORAGE, enough=enough)
    return list(read_unless_known(shards_of(folder), 0, blocks, STORAGE, known, enough))


def nobody_knows(shard: WholeShard) -> None:
    """Any shard is read."""


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Small and large shards in turn."""
    for name, data in zip("abcdef", [FEW, MANY, MANY + FEW, FEW, FEW, MANY], strict=True):
        (tmp_path / f"{name}.jsonl").write_bytes(data)
    return tmp_path


def test_what_nobody_knows_is_read_as_ever(mixed):
    as_ever = read_blocks(shards_of(mixed), Input(uri=str(mixed)), STORAGE)
    before, now = as_reading(as_ever), as_reading(read(mixed, nobody_knows))
    assert (now.records, now.rejects) == (before.records, before.rejects)
    for name in ("read", "stored_bytes"):
        assert sum(c[name] for c in now.counts) == sum(c[name] for c in before.counts)


def test_so_are_files_that_are_odd(tmp_path, monkeypatch):
    monkeypatch.setattr(whole_shards, "SMALL_SHARD_BYTES", 0)
    for name, file in hostile_files().items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(file.data)
    as_ever = as_reading(read_blocks(shards_of(tmp_path), Input(uri=str(tmp_path)), STORAGE))
    now = as_reading(read(tmp_path, nobody_knows))
    assert (now.records, now.rejects) == (as_ever.records, as_ever.rejects)


def test_places_are_the_same_too(mixed):
    identities = [i for block in read(mixed, nobody_knows) for i in block.identities]
    as_ever = read_blocks(shards_of(mixed), Input(uri=str(mixed)), STORAGE)
    assert identities == [i for block in as_ever for i in block.identities]


def test_a_large_shard_is_asked_about_once_and_what_is_known_of_it_stands_in_its_place(mixed):
    asked: list[WholeShard] = []

    def known(shard: WholeShard) -> str | None:
        asked.append(shard)
        return "known" if shard.uri.endswith("c.jsonl") else None

    found = read(mixed, known)
    assert [(Path(shard.uri).name, shard.number) for shard in asked] == [
        ("b.jsonl", 1),
        ("c.jsonl", 2),
        ("f.jsonl", 5),
    ]
    assert found.count("known") == 1
    assert sum(block.read for block in found if block != "known") == 2 + 40 + 2 + 2 + 40


def test_blocks_say_which_shard_they_are_of_and_the_last_one_that_it_ends(mixed):
    blocks = [block for block in read(mixed, nobody_knows) if block.shard]
    ends = {name: [] for name in "bcf"}
    for block in blocks:
        name = Path(block.shard.uri).stem
        assert {Path(record.place.uri).stem for record in block.records} <= {name}
        ends[name].append(block.ends_shard)
    assert ends == {"b": [False] * 2 + [True], "c": [False] * 2 + [True], "f": [False] * 2 + [True]}


def test_a_shard_that_is_not_read_to_its_end_does_not_end(mixed):
    answers = iter([False] * 4)  # in the midst of the first large one
    blocks = read(mixed, nobody_knows, lambda: next(answers, True))
    assert any(block.shard for block in blocks)
    assert not any(block.ends_shard for block in blocks)


def digest(folder: Path) -> str:
    asked: list[WholeShard] = []
    read(folder, asked.append)
    return asked[0].digest


def test_a_digest_is_of_the_bytes_and_of_what_folders_say(tmp_path):
    (tmp_path / "venue=Pond").mkdir()
    shard = tmp_path / "venue=Pond/a.jsonl"
    shard.write_bytes(MANY)
    first = digest(tmp_path)
    assert digest(tmp_path) == first
    shard.write_bytes(MANY.replace(b"r1", b"q1", 1))
    assert digest(tmp_path) != first
    shard.write_bytes(MANY)
    (tmp_path / "venue=Pond").rename(tmp_path / "venue=Lake")
    assert digest(tmp_path) != first


def test_one_that_has_vanished_is_a_reject_and_one_that_fails_stops_the_job(mixed):
    shards = shards_of(mixed)
    (mixed / "b.jsonl").unlink()
    blocks = partial(read_blocks, spec=Input(uri=str(mixed)), storage=STORAGE)
    reading = as_reading(read_unless_known(shards, 0, blocks, STORAGE, nobody_knows))
    assert [(r["reason"], Path(r["source_uri"]).name) for r in reading.rejects] == [
        ("unreadable", "b.jsonl")
    ]
    folder = Shard(str(mixed), f"file://{mixed}", len(MANY))  # a folder cannot be read
    with pytest.raises(StorageError, match=str(mixed)):
        list(read_unless_known([folder], 0, blocks, STORAGE, nobody_knows))
