"""Parquet shards: read one row group at a time; damage loses only the rows it touches."""

import datetime
import decimal
import io
import re
from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.errors import StorageError
from pipeline.core.filesystem import GuardedStream
from pipeline.core.records import Message, Passage, Record, Reject
from pipeline.reading.expansion_limit import ExpansionLimit
from pipeline.reading.parquet import BATCH_ROWS, parquet_items
from pipeline.reading.row_reader import RowReader
from tests.support.hostile import (
    PASSAGES,
    ids,
    not_utf8_strings,
    parquet_bytes,
    record_table,
    with_damaged_column,
)
from tests.support.shards import through_arrow

URI = "s3://logs/lamps.parquet"


def items(data: bytes, limit: int = 10_000) -> list[Record | Reject]:
    return list(
        parquet_items(
            URI, io.BufferedReader(io.BytesIO(data)), limit, ExpansionLimit(200), RowReader()
        )
    )  # type: ignore[type-var]


def table_items(limit: int = 10_000, **columns: Any) -> list[Record | Reject]:
    """What an undamaged file of two rows gives, with these columns."""
    return items(parquet_bytes(record_table(2, **columns)), limit)


def outline(items: list[Record | Reject]) -> list[tuple[int, str]]:
    """Row and id of records, row and reason of rejects."""
    return [(i.place.row, i.record_id if isinstance(i, Record) else i.reason) for i in items]


def test_row_numbers_continue_over_row_groups() -> None:
    data = parquet_bytes(record_table(25), row_group_size=10)

    assert outline(items(data)) == list(enumerate(ids(25)))


def test_row_numbers_continue_over_batches() -> None:
    count = 2 * BATCH_ROWS + 3

    assert outline(items(parquet_bytes(record_table(count)))) == list(enumerate(ids(count)))


def test_every_item_names_its_shard() -> None:
    assert {i.place.uri for i in table_items(question=["Which?", None])} == {URI}


@pytest.mark.parametrize("group", [0, 1, 2])
@pytest.mark.parametrize("compression", ["snappy", "zstd", "none"])
def test_a_damaged_row_group_loses_only_its_own_rows(group: int, compression: str) -> None:
    data = parquet_bytes(record_table(30), row_group_size=10, compression=compression)
    lost = range(group * 10, group * 10 + 10)

    read = items(with_damaged_column(data, group, "question"))

    undamaged = [(row, f"r{row}") for row in range(30) if row not in lost]
    assert outline(read) == sorted([*undamaged, (lost.start, "corrupt")])


def test_the_reject_for_a_row_group_says_how_many_rows_are_lost() -> None:
    data = parquet_bytes(record_table(30), row_group_size=10)
    (reject,) = (i for i in items(with_damaged_column(data, 2, "id")) if isinstance(i, Reject))

    assert "row group 2" in reject.detail
    assert "10 rows" in reject.detail
    assert "\n" not in reject.detail


def test_rows_before_the_damage_in_a_row_group_are_read() -> None:
    count = 20 * BATCH_ROWS
    data = parquet_bytes(
        record_table(count),
        use_dictionary=False,
        compression="none",
        data_page_size=4096,
        write_batch_size=64,
    )
    *records, reject = items(with_damaged_column(data, 0, "question", start=0.6))

    assert outline(records) == list(enumerate(ids(len(records))))
    assert len(records) >= count // 2 - BATCH_ROWS
    assert outline([reject]) == [(len(records), "corrupt")]
    assert isinstance(reject, Reject)
    assert re.search(r"(\d+) rows", reject.detail)[1] == str(count - len(records))  # type: ignore[index]


@pytest.mark.parametrize("data", [b"", b"PAR1", b"PAR1PAR1", b"PAR1" + b"\0" * 100 + b"PAR1"])
def test_a_file_that_is_not_parquet_is_one_reject(data: bytes) -> None:
    assert outline(items(data)) == [(0, "corrupt")]


def test_zero_rows_give_no_items() -> None:
    assert items(parquet_bytes(record_table(1).slice(0, 0))) == []


def test_a_text_that_is_not_utf8_loses_its_row() -> None:
    read = items(
        parquet_bytes(record_table(3, question=not_utf8_strings([b"Which?", b"\xff", b"When?"])))
    )

    assert outline(read) == [(0, "r0"), (1, "not_utf8"), (2, "r2")]
    assert isinstance(read[1], Reject)
    assert read[1].record_id == "r1"
    assert "question" in read[1].detail


def test_a_text_of_an_own_column_that_is_not_utf8_loses_its_row_too() -> None:
    read = table_items(note=not_utf8_strings([b"\xe9", b"fine"]))

    assert outline(read) == [(0, "not_utf8"), (1, "r1")]


def test_a_reject_carries_its_row_as_json() -> None:
    read = table_items(question=[None, "Which?"])

    assert isinstance(read[0], Reject)
    assert orjson.loads(read[0].payload) == {"id": "r0", "question": None, "passages": PASSAGES}


def test_passages_are_strings_or_objects() -> None:
    objects = [[{"text": "Amber.", "source": "log"}], [{"text": "White.", "source": None}]]
    strings = [["Amber."], ["White."]]
    large = pa.array(strings, pa.large_list(pa.large_string()))

    def passages(cells: Any) -> list[tuple[Passage, ...]]:
        return [i.passages for i in table_items(passages=cells) if isinstance(i, Record)]

    assert passages(objects) == [(Passage("Amber.", "log"),), (Passage("White."),)]
    assert passages(strings) == passages(large) == [(Passage("Amber."),), (Passage("White."),)]


def test_chats_are_ready_prompts() -> None:
    chats = [[{"role": "user", "content": f"Lamp {i}?"}] for i in range(2)]
    read = table_items(question=None, passages=None, messages=chats)

    assert [i.messages for i in read if isinstance(i, Record)] == [
        (Message("user", "Lamp 0?"),),
        (Message("user", "Lamp 1?"),),
    ]


def test_strings_may_be_stored_as_a_dictionary() -> None:
    question = pa.array(["Which lamp?", "Which lamp?"]).dictionary_encode()

    assert [i.question for i in table_items(question=question) if isinstance(i, Record)] == [
        "Which lamp?"
    ] * 2


def test_a_row_over_the_limit_is_too_large() -> None:
    rows = [["x" * 300], ["x"]]

    assert outline(table_items(250, passages=rows)) == [(0, "too_large"), (1, "r1")]
    assert outline(table_items(250, passages=[[{"text": "x" * 300}], [{"text": "x"}]])) == [
        (0, "too_large"),
        (1, "r1"),
    ]


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        (pa.array([1, 2]), "wrong_type"),
        (pa.array([b"a", b"b"]), "wrong_type"),
        (pa.array([["a"], ["b"]]), "wrong_type"),
        (pa.array([True, False]), "wrong_type"),
        (pa.nulls(2), "missing_field"),
        (pa.array(["", ""]), "missing_field"),
    ],
)
def test_a_question_of_the_wrong_type_or_missing_loses_each_row(
    cells: pa.Array, reason: str
) -> None:
    assert outline(table_items(question=cells)) == [(0, reason), (1, reason)]


@pytest.mark.parametrize(
    "cells",
    [
        pa.array([1.5, float("nan")]),
        pa.array([decimal.Decimal("1.50"), None]),
        pa.array([datetime.date(1911, 5, 4), None]),
        pa.array([datetime.datetime(1911, 5, 4, tzinfo=datetime.UTC), None]),
        pa.array([datetime.timedelta(days=3), None]),
        pa.array([b"\xff\0", b""]),
        pa.array([[("key", 1)], []], pa.map_(pa.string(), pa.int64())),
        pa.array([{"a": {"b": [1, 2]}}, None]),
        pa.array([2**64 - 1, 0], pa.uint64()),
        pa.array([2**62 + 1, 0], pa.timestamp("ns")),
        # Values that Parquet can hold but Python's dates and durations cannot.
        pa.array([10_000_000, 0], pa.date32()),
        pa.array([2**62, 0], pa.timestamp("us")),
        pa.array([2**62, 0], pa.timestamp("us", "UTC")),
        pa.array([2**62, 0], pa.duration("s")),
    ],
    ids=lambda cells: str(cells.type),
)
def test_an_own_column_of_any_type_loses_no_record(cells: pa.Array) -> None:
    read = table_items(own=cells)

    assert outline(read) == [(0, "r0"), (1, "r1")]
    assert [through_arrow(item).extra.keys() for item in read] == [{"own"}] * 2


def test_an_unknown_time_zone_loses_no_record() -> None:
    read = table_items(own=pa.array([0, 1], pa.timestamp("us", "Mars/Olympus")))

    assert outline(read) == [(0, "r0"), (1, "r1")]


class _BrokenDisk(io.RawIOBase):
    """A file that fails after some reads, as a lost connection does."""

    def __init__(self, data: bytes, reads: int) -> None:
        self._file = io.BytesIO(data)
        self._reads = reads

    def read(self, size: int = -1) -> bytes:
        self._reads -= 1
        if self._reads < 0:
            raise ConnectionResetError("connection reset")
        return self._file.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)


@pytest.mark.parametrize("reads", [0, 1, 3])
def test_a_failing_storage_is_not_taken_for_damage(reads: int) -> None:
    data = parquet_bytes(record_table(5000), row_group_size=1000, compression="none")
    stream = io.BufferedReader(GuardedStream(_BrokenDisk(data, reads), URI), 4096)

    with pytest.raises(StorageError, match=re.escape(URI)):
        list(parquet_items(URI, stream, 10_000, ExpansionLimit(200), RowReader()))


GOOD = parquet_bytes(record_table(30), row_group_size=10)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, len(GOOD) - 1), st.binary(min_size=1, max_size=8)), max_size=4
    ),
)
def test_any_damage_gives_records_and_rejects(damages: list[tuple[int, bytes]]) -> None:
    data = bytearray(GOOD)
    for offset, damage in damages:
        data[offset : offset + len(damage)] = damage

    for item in items(bytes(data[: len(GOOD)])):
        assert isinstance(item, Record) or item.detail


@pytest.mark.parametrize("damage", [0x00, 0xFF])
def test_no_damaged_byte_of_a_footer_ends_the_process(damage: int) -> None:
    """Without `check_columns`, pyarrow would abort on some of these."""
    length = int.from_bytes(GOOD[-8:-4], "little")
    for offset in range(len(GOOD) - 8 - length, len(GOOD)):
        for item in items(GOOD[:offset] + bytes([damage]) + GOOD[offset + 1 :]):
            assert isinstance(item, Record) or item.detail


@settings(max_examples=50, deadline=None)
@given(st.integers(0, len(GOOD) - 1))
def test_a_file_cut_off_anywhere_is_one_reject(length: int) -> None:
    assert outline(items(GOOD[:length])) == [(0, "corrupt")]
