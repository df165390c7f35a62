"""The memory that reading takes does not depend on the content of the shard."""

import subprocess
import sys
from pathlib import Path

import pytest
from backports import zstd

from pipeline.reading.source import BLOCK_BYTES
from tests.bench.records import generate
from tests.support.jobs import ROOT, rows, write_jsonl
from tests.support.shards import read_path
from tests.support.tables import FORMATS

MIB = 2**20

READ = """
import resource, sys
from pipeline.config.schema import Input
from pipeline.reading.shards import list_shards
from pipeline.reading.source import read_blocks
from pipeline.core.filesystem import Storage

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

shards = list_shards(sys.argv[1], Storage()).shards
before = peak()
blocks = read_blocks(shards, Input(uri="x"), Storage())
items = sum(block.read for block in blocks)
print(items, peak() - before)
"""


def read_in_own_process(path: Path) -> tuple[int, int]:
    """Records and rejects, and by how many bytes reading has raised the process's peak memory."""
    output = subprocess.run(
        [sys.executable, "-c", READ, str(path)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    ).stdout
    items, grown = map(int, output.split())
    return items, grown


def test_reading_a_large_shard_takes_a_fraction_of_its_size(tmp_path):
    (shard,) = generate(tmp_path / "shards", 60_000, 1).iterdir()
    assert shard.stat().st_size > 200 * MIB
    items, grown = read_in_own_process(shard)
    assert items == 60_000
    assert grown < 100 * MIB


@pytest.mark.parametrize("ending", ["csv", "json"])
def test_reading_a_large_table_or_array_takes_a_fraction_of_its_size(tmp_path, ending):
    written = FORMATS[ending](rows(range(1000)))
    header, line_end, table = written.partition(b"\r\n")
    start, body, end = header + line_end, table, b""
    if ending == "json":
        start, body, end = b"[", written[1:-1] + b",", b"{}]"
    with (shard := tmp_path / f"large.{ending}").open("wb") as file:
        file.write(start)
        for _ in range(200):
            file.write(body)
        file.write(end)
    assert shard.stat().st_size > 50 * MIB
    items, grown = read_in_own_process(shard)
    assert items == 200_000 + (ending == "json")
    assert grown < 40 * MIB


def test_a_line_that_expands_to_half_a_gigabyte_is_dropped_while_it_is_read(tmp_path):
    shard = tmp_path / "bomb.jsonl.zst"
    with zstd.open(shard, "wb") as file:
        for _ in range(512):
            file.write(b"a" * MIB)
    assert shard.stat().st_size < MIB
    items, grown = read_in_own_process(shard)
    assert items == 1  # the reject
    assert grown < 100 * MIB


def test_blocks_are_bounded_in_characters_as_well_as_in_records(tmp_path):
    (row,) = rows([1])
    large = [{**row, "record_id": f"r{n}", "passages": ["x" * MIB]} for n in range(40)]
    reading = read_path(write_jsonl(tmp_path / "a.jsonl", large))
    assert len(reading.records) == 40
    block_records = BLOCK_BYTES // MIB
    assert max(block["read"] for block in reading.counts) <= block_records
