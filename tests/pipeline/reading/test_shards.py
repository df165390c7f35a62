"""Shards: listed, divided among read tasks, fetched in groups, and streamed."""

import gzip
import os
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config.schema import Input
from pipeline.core.errors import ConfigError, StorageError
from pipeline.core.filesystem import GuardedStream, Storage
from pipeline.core.records import Record, Reject
from pipeline.reading.shards import Shard, list_shards, read_shard
from pipeline.reading.source import (
    BLOCK_RECORDS,
    FETCH_BYTES,
    FETCH_SHARDS,
    REQUEST_BYTES,
    SMALL_SHARD_BYTES,
    fetch_groups,
    read_blocks,
    share_out,
)
from tests.support.hostile import (
    hostile_files,
    ids,
    parquet_bytes,
    record_line,
    record_lines,
    record_table,
    text_file,
    zstd,
)
from tests.support.shards import as_reading, faults, read_path

STORAGE = Storage()


def names(uri: Path | str) -> list[str]:
    return [Path(shard.path).name for shard in list_shards(str(uri), STORAGE).shards]


def fill(folder: Path, *paths: str, data: bytes = b"x") -> Path:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


# Listing the shards of an input.


def test_a_folder_lists_all_files_below_it_by_path(tmp_path: Path) -> None:
    fill(tmp_path, "b.jsonl", "a/z.txt", "a/deep/er.txt", "c.parquet")

    assert names(tmp_path) == ["er.txt", "z.txt", "b.jsonl", "c.parquet"]


def test_a_shard_knows_its_uri_and_size(tmp_path: Path) -> None:
    fill(tmp_path, "a.jsonl", data=b"12345")

    assert list_shards(str(tmp_path), STORAGE).shards == [
        Shard(f"{tmp_path}/a.jsonl", f"file://{tmp_path}/a.jsonl", 5)
    ]


@pytest.mark.parametrize("form", ["{}", "{}/", "file://{}", "file://{}/"])
def test_a_folder_can_be_given_in_any_form(tmp_path: Path, form: str) -> None:
    fill(tmp_path, "a.jsonl", "b/c.txt")

    assert names(form.format(tmp_path)) == ["a.jsonl", "c.txt"]


def test_a_glob_lists_what_it_matches(tmp_path: Path) -> None:
    fill(tmp_path, "a.jsonl", "b.jsonl", "c.txt", "deep/d.jsonl")

    assert names(tmp_path / "*.jsonl") == ["a.jsonl", "b.jsonl"]
    assert names(tmp_path / "**" / "*.jsonl") == ["a.jsonl", "b.jsonl", "d.jsonl"]
    assert names(tmp_path / "[ac].*") == ["a.jsonl", "c.txt"]


def test_a_file_with_wildcards_in_its_name_is_not_a_glob(tmp_path: Path) -> None:
    fill(tmp_path, "a*.txt", "ab.txt", "a [1].txt", "a1.txt")

    assert names(tmp_path / "a*.txt") == ["a*.txt"]
    assert names(tmp_path / "a [1].txt") == ["a [1].txt"]


def test_a_folder_with_wildcards_in_its_name_is_not_a_glob(tmp_path: Path) -> None:
    fill(tmp_path, "batch [1]/a.txt", "batch 1/b.txt")

    assert names(tmp_path / "batch [1]") == ["a.txt"]


def test_hidden_files_are_counted_but_not_read(tmp_path: Path) -> None:
    fill(tmp_path, "a.txt", ".draft.txt", "_SUCCESS", "_tmp/b.txt", "deep/.git/c.txt", "d_e.txt")

    listing = list_shards(str(tmp_path), STORAGE)

    assert [Path(s.path).name for s in listing.shards] == ["a.txt", "d_e.txt"]
    assert listing.hidden == 4


def test_hidden_files_of_a_glob_are_counted_but_not_read(tmp_path: Path) -> None:
    fill(tmp_path, "a.txt", "_b.txt")

    listing = list_shards(f"{tmp_path}/*.txt", STORAGE)

    assert [Path(s.path).name for s in listing.shards] == ["a.txt"]
    assert listing.hidden == 1


@pytest.mark.parametrize("above", [".cache", "_work", "plain/.deep"])
def test_a_hidden_folder_above_the_input_hides_nothing(tmp_path: Path, above: str) -> None:
    fill(tmp_path, f"{above}/in/a.txt", f"{above}/in/_b.txt")

    assert names(tmp_path / above / "in") == ["a.txt"]
    assert names(tmp_path / above / "in" / "a.txt") == ["a.txt"]
    assert names(tmp_path / above / "in" / "*.txt") == ["a.txt"]


@pytest.mark.parametrize("uri", ["", "/nothing", "/nothing.txt", "/*.txt", "/no/**"])
def test_an_input_without_files_is_an_error_that_names_it(tmp_path: Path, uri: str) -> None:
    with pytest.raises(ConfigError, match="no file there") as caught:
        list_shards(f"{tmp_path}{uri}", STORAGE)

    assert f"{tmp_path}{uri}" in str(caught.value)


def test_an_input_of_hidden_files_is_an_error_that_says_so(tmp_path: Path) -> None:
    fill(tmp_path, "_SUCCESS")

    with pytest.raises(ConfigError, match="hidden"):
        list_shards(str(tmp_path), STORAGE)


def test_a_name_that_is_not_utf8_stops_nothing(tmp_path: Path) -> None:
    fill(tmp_path, "a_CQ1.txt", data=text_file().encode())
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9_CQ1.txt")).write_bytes(
            text_file().encode()
        )
    except OSError:
        pytest.skip("a file system of Unicode names")

    reading = read_path(tmp_path)

    assert len(reading.records) + len(reading.rejects) == 2
    assert "a_CQ1" in [r["record_id"] for r in reading.records]


# Dividing shards among read tasks, and fetching them.

sizes = st.lists(
    st.one_of(
        st.integers(0, 50),
        st.integers(0, 2 * SMALL_SHARD_BYTES),
        st.sampled_from([0, SMALL_SHARD_BYTES, SMALL_SHARD_BYTES + 1, 10 * FETCH_BYTES]),
    ),
    max_size=60,
)


def shards_of(of_sizes: list[int]) -> list[Shard]:
    return [Shard(f"/{i}", f"file:///{i}", size) for i, size in enumerate(of_sizes)]


@settings(max_examples=200, deadline=None)
@given(sizes, st.integers(0, 80))
def test_every_shard_is_in_one_share_and_in_order(of_sizes: list[int], shares: int) -> None:
    shards = shards_of(of_sizes)

    shared = share_out(shards, shares)

    assert [shard for share in shared for shard in share] == shards
    assert all(shared)
    assert len(shared) <= max(shares, 1)


@settings(max_examples=200, deadline=None)
@given(sizes.filter(bool), st.integers(1, 80))
def test_no_share_exceeds_an_equal_part_by_more_than_one_shard(
    of_sizes: list[int], shares: int
) -> None:
    shared = share_out(shards_of(of_sizes), shares)

    equal_part = (sum(of_sizes) + len(of_sizes) * REQUEST_BYTES) / shares
    for share in shared:
        assert sum(shard.size + REQUEST_BYTES for shard in share[:-1]) < equal_part


def test_equal_shards_are_shared_out_equally() -> None:
    assert [len(share) for share in share_out(shards_of([100] * 12), 4)] == [3, 3, 3, 3]
    assert [len(share) for share in share_out(shards_of([0] * 12), 4)] == [3, 3, 3, 3]
    assert [len(share) for share in share_out(shards_of([100] * 3), 12)] == [1, 1, 1]


@settings(max_examples=200, deadline=None)
@given(sizes)
def test_every_shard_is_fetched_once_in_order_and_within_the_limits(of_sizes: list[int]) -> None:
    shards = shards_of(of_sizes)

    groups = list(fetch_groups(shards))

    assert [shard for group in groups for shard in group] == shards
    for group in groups:
        assert len(group) == 1 or all(shard.size <= SMALL_SHARD_BYTES for shard in group)
        assert len(group) == 1 or sum(shard.size for shard in group) <= FETCH_BYTES
        assert 1 <= len(group) <= FETCH_SHARDS


def test_many_tiny_shards_are_fetched_as_many_as_allowed_at_a_time() -> None:
    groups = list(fetch_groups(shards_of([10] * (2 * FETCH_SHARDS + 1))))

    assert [len(group) for group in groups] == [FETCH_SHARDS, FETCH_SHARDS, 1]


def test_small_shards_fill_a_fetch_up_to_its_bytes() -> None:
    full = FETCH_BYTES // SMALL_SHARD_BYTES
    groups = list(fetch_groups(shards_of([SMALL_SHARD_BYTES] * (full + 1))))

    assert [len(group) for group in groups] == [full, 1]


def test_a_large_shard_separates_its_neighbours() -> None:
    groups = list(fetch_groups(shards_of([10, 10, SMALL_SHARD_BYTES + 1, 10])))

    assert [len(group) for group in groups] == [2, 1, 1]


# Reading a shard.


@pytest.fixture
def no_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks end by their size alone, however slow this machine is."""
    monkeypatch.setattr("pipeline.reading.source.BLOCK_SECONDS", float("inf"))


@pytest.mark.usefixtures("no_deadline")
def test_a_large_shard_comes_in_blocks(tmp_path: Path) -> None:
    count = 3 * BLOCK_RECORDS + 5
    data = b"".join(record_line(f"r{i}", passages=["drizzle " * 100]) for i in range(count))
    fill(tmp_path, "large.jsonl", data=data)
    assert len(data) > SMALL_SHARD_BYTES

    shards = list_shards(str(tmp_path), STORAGE).shards
    reading = as_reading(read_blocks(shards, Input(uri=str(tmp_path)), STORAGE))

    assert [r["record_id"] for r in reading.records] == list(ids(count))
    assert [t["read"] for t in reading.counts] == [BLOCK_RECORDS] * 3 + [5]
    assert sum(t["stored_bytes"] for t in reading.counts) == len(data)
    assert all(t["stored_bytes"] >= 0 for t in reading.counts)
    assert reading.counts[0]["stored_bytes"] < len(data)


def test_a_slow_input_comes_in_small_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.reading.source.BLOCK_SECONDS", -1.0)  # every record is late
    fill(tmp_path, "a.jsonl", data=record_lines(3))

    reading = read_path(tmp_path)

    assert [t["read"] for t in reading.counts] == [1, 1, 1, 0]
    assert sum(t["stored_bytes"] for t in reading.counts) == len(record_lines(3))


@pytest.mark.usefixtures("no_deadline")
def test_many_shards_share_a_block(tmp_path: Path) -> None:
    for i in range(20):
        fill(tmp_path, f"lamp-{i:02}_CQ1.txt", data=text_file().encode())

    reading = read_path(tmp_path)

    assert [r["record_id"] for r in reading.records] == [f"lamp-{i:02}_CQ1" for i in range(20)]
    assert [(t["read"], t["stored_bytes"]) for t in reading.counts] == [
        (20, 20 * len(text_file().encode()))
    ]


@pytest.mark.parametrize("size", [10, SMALL_SHARD_BYTES + 1])
def test_a_file_that_has_vanished_since_the_listing_is_unreadable(
    tmp_path: Path, size: int
) -> None:
    fill(tmp_path, "gone.jsonl", data=b"x" * size)
    fill(tmp_path, "here.jsonl", data=record_line("here"))
    shards = list_shards(str(tmp_path), STORAGE).shards
    (tmp_path / "gone.jsonl").unlink()

    reading = as_reading(read_blocks(shards, Input(uri=str(tmp_path)), STORAGE))

    assert faults(reading) == [(0, "unreadable")]
    assert reading.rejects[0]["source_uri"].endswith("/gone.jsonl")
    assert "gone.jsonl" in reading.rejects[0]["detail"]
    assert [r["record_id"] for r in reading.records] == ["here"]


@pytest.mark.parametrize("size", [10, SMALL_SHARD_BYTES + 1])
def test_a_failing_storage_stops_the_job_and_names_the_shard(tmp_path: Path, size: int) -> None:
    shard = Shard(str(tmp_path), f"file://{tmp_path}", size)  # a folder cannot be read

    with pytest.raises(StorageError, match=str(tmp_path)):
        list(read_blocks([shard], Input(uri=str(tmp_path)), STORAGE))


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstd.compress])
@pytest.mark.parametrize("ending", ["jsonl", "ndjson", "json", "JSONL", "jsonl.gz", "jsonl.zst"])
def test_magic_bytes_decide_how_a_shard_is_decompressed(
    tmp_path: Path, ending: str, pack: Any
) -> None:
    fill(tmp_path, f"lamps.{ending}", data=pack(record_lines(3)))

    assert [r["record_id"] for r in read_path(tmp_path).records] == list(ids(3))


@pytest.mark.parametrize("ending", ["txt", "TXT", "txt.gz", "txt.zst", "txt.zstd"])
def test_a_text_shard_s_id_is_its_name_without_any_extension(tmp_path: Path, ending: str) -> None:
    data = text_file().encode()
    fill(tmp_path, f"reef_CQ4.{ending}", data=gzip.compress(data) if "." in ending else data)

    (record,) = read_path(tmp_path).records

    assert (record["record_id"], record["paper_id"], record["question_id"]) == (
        "reef_CQ4",
        "reef",
        "CQ4",
    )


@pytest.mark.parametrize("ending", ["parquet", "pq", "jsonl", "bin"])
def test_parquet_is_recognized_by_its_magic_bytes(tmp_path: Path, ending: str) -> None:
    fill(tmp_path, f"lamps.{ending}", data=parquet_bytes(record_table(3)))

    assert [r["record_id"] for r in read_path(tmp_path).records] == list(ids(3))


def test_the_job_file_s_format_takes_precedence_over_the_extension(tmp_path: Path) -> None:
    fill(tmp_path, "lamps.csv", data=record_lines(2))

    assert [r["record_id"] for r in read_path(tmp_path, kind="jsonl").records] == list(ids(2))
    assert faults(read_path(tmp_path, kind="text")) == [(0, "unparsable_text")]
    assert faults(read_path(tmp_path, kind="parquet")) == [(0, "corrupt")]
    assert faults(read_path(tmp_path, kind="openai-batch")) == [
        (0, "missing_field"),
        (1, "missing_field"),
    ]


def test_the_reject_of_an_unknown_kind_keeps_the_first_bytes(tmp_path: Path) -> None:
    fill(tmp_path, "scan.pdf", data=b"%PDF-1.7 and so on")

    (reject,) = read_path(tmp_path).rejects

    assert (reject["reason"], reject["payload"]) == ("unknown_kind", b"%PDF-1.7 and so on")
    assert "scan.pdf" in reject["detail"]


def test_records_before_damage_deep_in_a_gzip_are_read(tmp_path: Path) -> None:
    data = record_lines(20_000)
    packed = bytearray(gzip.compress(data, compresslevel=0, mtime=0))
    broken = len(packed) * 3 // 4
    packed[broken : broken + 70_000] = b"\xff" * 70_000  # over a stored block's length
    fill(tmp_path, "lamps.jsonl.gz", data=bytes(packed))

    reading = read_path(tmp_path)

    assert reading.rejects[-1]["reason"] == "corrupt"
    assert [r["record_id"] for r in reading.records] == list(ids(len(reading.records)))
    assert len(reading.records) > 10_000


def test_a_shard_is_decompressed_in_bounded_memory(tmp_path: Path) -> None:
    bomb = gzip.compress(bytes(64 * 2**20), mtime=0)  # 64 MiB of NUL in 64 KiB
    fill(tmp_path, "bomb_CQ1.txt", "bomb.jsonl", data=bomb)

    tracemalloc.start()
    reading = read_path(tmp_path, limit=1000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert faults(reading) == [(0, "too_large"), (0, "too_large")]
    assert peak < 16 * 2**20


# Arbitrary bytes.

ENDINGS = (
    ".txt", ".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet", ".json", ".csv", ".tsv", ".csv.gz",
)  # fmt: skip
STARTS = (
    b"",
    b"\x1f\x8b",
    b"\x1f\x8b\x08",
    b"\x28\xb5\x2f\xfd",
    b"PAR1",
    b"{",
    b"[",
    b"id,question,passages\n",
    b"\xef\xbb\xbf",
    text_file(answer="").encode(),
    record_lines(2),
)
WHOLE = tuple(file.data for file in hostile_files().values() if len(file.data) < 10_000)


@st.composite
def damaged_files(draw: st.DrawFn) -> bytes:
    """A valid file that was cut, overwritten, or had bytes inserted."""
    data = bytearray(draw(st.sampled_from(WHOLE)))
    for _ in range(draw(st.integers(0, 4))):
        offset = draw(st.integers(0, len(data)))
        removed = draw(st.sampled_from([0, 1, 1, 4, len(data)]))
        data[offset : offset + removed] = draw(st.binary(max_size=8))
    return bytes(data)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scratch")


@settings(max_examples=400, deadline=None)
@given(
    st.one_of(
        st.tuples(st.sampled_from(STARTS), st.binary(max_size=200)).map(b"".join), damaged_files()
    ),
    st.sampled_from(ENDINGS),
)
def test_any_bytes_under_any_extension_give_records_and_rejects(
    scratch: Path, data: bytes, ending: str
) -> None:
    path = scratch / f"any{ending}"
    path.write_bytes(data)

    reading = read_path(path, limit=100_000)

    assert reading.records or reading.rejects
    assert all(r["detail"] for r in reading.rejects)
    assert sum(t["read"] for t in reading.counts) == len(reading.records) + len(reading.rejects)
    assert sum(t["stored_bytes"] for t in reading.counts) == len(data)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=400), st.integers(0, 400))
def test_everything_that_zlib_decompresses_before_a_break_is_read(
    scratch: Path, noise: bytes, cut: int
) -> None:
    packed = gzip.compress(record_line("first") + noise + b"\n" + record_lines(5), mtime=0)
    start = packed[: max(2, min(cut, len(packed) - 1))]
    (scratch / "cut.jsonl.gz").write_bytes(start)
    (scratch / "plain.jsonl").write_bytes(whole := zlib.decompressobj(wbits=31).decompress(start))

    cut_off = read_path(scratch / "cut.jsonl.gz")
    plain = read_path(scratch / "plain.jsonl") if whole else None

    before = whole.count(b"\n")
    assert (before, "truncated") in faults(cut_off)
    assert (
        [r["record_id"] for r in cut_off.records if r["source_row"] < before]
        == [r["record_id"] for r in plain.records if r["source_row"] < before]
        if plain
        else not cut_off.records
    )


def test_a_shard_gives_at_least_one_item(scratch: Path) -> None:
    (scratch / "none.jsonl").write_bytes(b"\n\n")
    shard = Shard(str(scratch / "none.jsonl"), "file:///none.jsonl", 2)

    with (scratch / "none.jsonl").open("rb", buffering=0) as file:
        items: list[Record | Reject] = list(
            read_shard(shard, GuardedStream(file, shard.uri), Input(uri="x"))
        )

    assert [(i.record_id, i.reason) for i in items if isinstance(i, Reject)] == [
        ("none.jsonl", "empty_file")
    ]
