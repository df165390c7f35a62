"""Oversized input and decompression bombs become rejects and take little memory."""

import gzip
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from backports import zstd

from tests.pipeline.reading.test_memory import MIB, read_in_own_process
from tests.support.jobs import rows
from tests.support.shards import read_path


def repeated(value: str, times: int) -> pa.Array:
    indices = pa.array(np.zeros(times, dtype=np.int8))
    return pa.DictionaryArray.from_arrays(indices, [value])


def lists(values: pa.Array, each: int) -> pa.ListArray:
    return pa.ListArray.from_arrays(pa.array(range(0, len(values) + 1, each), pa.int32()), values)


BOMBS = {
    "a long text in every row": lambda: {"question": repeated("x" * 50 * MIB, 2000)},
    "a long text in long lists": lambda: {"passages": lists(repeated("x" * MIB, 10_000), 100)},
    "one list of thirty million": lambda: {"passages": lists(repeated("z", 3 * 10**7), 3 * 10**7)},
    "thirty million nulls": lambda: {"extra": lists(pa.nulls(3 * 10**7, pa.int32()), 3 * 10**7)},
    "a long text in a column whose name has a dot": lambda: {
        "ex.tra": repeated("x" * 50 * MIB, 2000)
    },
    "a text inside structs": lambda: {
        "passages": lists(
            pa.StructArray.from_arrays([repeated("x" * MIB, 5000)], names=["text"]), 50
        )
    },
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_parquet_bomb_is_one_reject_and_takes_no_memory(bomb, tmp_path):
    shard = tmp_path / "bomb.parquet"
    pq.write_table(
        pa.table(BOMBS[bomb]()), shard, compression="zstd", dictionary_pagesize_limit=2**30
    )
    assert shard.stat().st_size < MIB
    items, grown = read_in_own_process(shard)
    assert items == 1  # the reject
    assert grown < 300 * MIB
    (reject,) = read_path(shard).rejects
    assert (reject["reason"], reject["payload"]) == ("too_large", b"")
    assert "input.max_expansion" in reject["detail"]


def test_other_row_groups_of_the_file_are_read(tmp_path):
    good = pa.Table.from_pylist([{"record_id": "a", "question": "Why?", "passages": ["p"]}])
    long = pa.table({"question": repeated("x" * 2 * MIB, 100)})["question"].cast(pa.string())
    with pq.ParquetWriter(
        tmp_path / "a.parquet", good.schema, dictionary_pagesize_limit=2**30
    ) as file:
        file.write_table(good)
        bad = {"record_id": ["b"] * 100, "question": long[:100], "passages": [["p"]] * 100}
        file.write_table(pa.table(bad, schema=good.schema))
        file.write_table(good)
    reading = read_path(tmp_path / "a.parquet")
    assert [record["record_id"] for record in reading.records] == ["a", "a"]
    assert [(r["source_row"], r["reason"]) for r in reading.rejects] == [(1, "too_large")]


@pytest.mark.parametrize("pack", [gzip.compress, zstd.compress], ids=["gzip", "zstd"])
def test_the_rest_of_a_stream_that_expands_too_far_is_one_reject(pack, tmp_path):
    lines = b"".join(orjson.dumps(row) + b"\n" for row in rows(range(100)))
    (tmp_path / "a.jsonl.packed").write_bytes(pack(lines + b" " * 200 * MIB))
    shard = (tmp_path / "a.jsonl.packed").rename(tmp_path / "a.jsonl.gz")
    assert 200 * shard.stat().st_size < 200 * MIB
    reading = read_path(shard)
    assert len(reading.records) == 100
    (reject,) = reading.rejects
    assert reject["reason"] == "too_large"
    assert "input.max_expansion" in reject["detail"]


def test_repetitive_but_honest_input_is_read(tmp_path: Path):
    """A paper's passages are in each of its records, and the file stores one copy."""
    passages = [
        f"Passage {n}: " + "the lamp was lit and the heron rose again. " * 40 for n in range(8)
    ]
    table = pa.table(
        {
            "record_id": [f"p{n // 28}_Q{n % 28}" for n in range(2800)],
            "question": [f"What of lamp {n}?" for n in range(2800)],
            "passages": [[f"Paper {n // 28}. {p}" for p in passages] for n in range(2800)],
        }
    )
    pq.write_table(table, tmp_path / "a.parquet", compression="zstd")
    expanded = sum(len(p) for p in passages) * 2800
    assert expanded > 20 * (tmp_path / "a.parquet").stat().st_size
    reading = read_path(tmp_path / "a.parquet")
    assert (len(reading.records), reading.rejects) == (2800, [])


def test_one_long_text_among_short_ones_is_no_bomb(tmp_path: Path):
    """At the length of the longest, all texts together would take 40 GB."""
    texts = [["x" * 900_000, "short"], *[[f"Passage {n % 50}.", "short"] for n in range(25_000)]]
    names = [f"r{n}" for n in range(len(texts))]
    table = pa.table({"record_id": names, "question": ["Why?"] * len(texts), "passages": texts})
    pq.write_table(table, tmp_path / "a.parquet", compression="zstd")
    reading = read_path(tmp_path / "a.parquet")
    assert (len(reading.records), reading.rejects) == (25_001, [])
