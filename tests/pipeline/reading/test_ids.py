"""Ids: every value that names a record exactly, and no other."""

import io
import json
from decimal import Decimal
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.schema import Input
from pipeline.core.filesystem import GuardedStream
from pipeline.core.records import Fault, Record, Reject
from pipeline.reading.ids import as_id
from pipeline.reading.shards import Shard, read_shard

NAMES = ("record_id", "id", "custom_id")
LAMP = UUID("7f3e2c1a-0d4b-4c5e-9a6f-1b2c3d4e5f60")
BIG = 98765432109876543210987654321


def read(name: str, data: bytes) -> list[Record | Reject]:
    shard = Shard(name, f"file:///{name}", len(data))
    return list(read_shard(shard, GuardedStream(io.BytesIO(data), shard.uri), Input(uri="x")))


def row(**fields: Any) -> dict[str, Any]:
    return {"question": "Which lamp burns?", "passages": ["The amber one."], **fields}


def from_parquet(values: list[Any], type_: pa.DataType, name: str = "id") -> list[Record | Reject]:
    sink = io.BytesIO()
    rows = pa.table({k: [v] * len(values) for k, v in row().items()})
    pq.write_table(rows.append_column(name, pa.array(values, type_)), sink, store_schema=False)
    return read("lamps.parquet", sink.getvalue())


def ids(items: list[Record | Reject]) -> list[str]:
    assert all(isinstance(item, Record) for item in items)
    return [item.record_id for item in items]


@pytest.mark.parametrize(
    ("type_", "value", "expected"),
    [
        (pa.int8(), -7, "-7"),
        (pa.uint64(), 2**64 - 1, str(2**64 - 1)),
        (pa.decimal128(38, 0), Decimal(BIG), str(BIG)),
        (pa.decimal256(76, 0), Decimal(10**70), str(10**70)),
        (pa.decimal128(20, 2), Decimal("17.00"), "17"),
        (pa.uuid(), LAMP.bytes, str(LAMP)),
        (pa.binary(), "Zoë-1".encode(), "Zoë-1"),
        (pa.large_string(), "lamp", "lamp"),
        (pa.dictionary(pa.int8(), pa.string()), "lamp", "lamp"),
    ],
    ids=str,
)
@pytest.mark.parametrize("name", NAMES)
def test_a_parquet_value_that_names_a_record_is_its_id(name, type_, value, expected):
    assert ids(from_parquet([value], type_, name)) == [expected]


@pytest.mark.parametrize(
    ("type_", "value", "says"),
    [
        (pa.float64(), 17.0, "the float 17.0, which loses digits"),
        (pa.decimal128(20, 2), Decimal("17.50"), "the decimal 17.50; store the column as text"),
        (pa.binary(), b"\xff\xfe", "binary and no UTF-8 text"),
        (pa.bool_(), True, "a boolean"),
        (pa.date32(), 3, "date"),
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["id", "paper_id", "question_id"])
def test_a_value_that_names_nothing_exactly_is_a_reject_that_says_why(name, type_, value, says):
    (reject,) = from_parquet([value], type_, name)

    assert isinstance(reject, Reject)
    assert reject.reason == "wrong_type"
    assert reject.detail.startswith(f"{name} ")
    assert says in reject.detail


@given(st.integers())
def test_a_whole_number_of_any_size_keeps_all_its_digits(number):
    line = json.dumps(row(id=number, paper_id=number, extra_number=[{"n": number}])).encode()
    (record,) = read("lamps.jsonl", line)

    assert isinstance(record, Record)
    assert (record.record_id, record.paper_id) == (str(number), str(number))
    assert str(record.extra["extra_number"][0]["n"]) == str(number)
    assert as_id(Decimal(number), "id") == str(number)


@given(
    st.floats() | st.booleans() | st.lists(st.integers()) | st.dictionaries(st.text(), st.text())
)
def test_no_float_boolean_or_container_is_an_id(value):
    with pytest.raises(Fault) as caught:
        as_id(value, "paper_id")
    assert (caught.value.reason, "paper_id must be" in caught.value.detail) == ("wrong_type", True)


def test_large_floats_of_the_user_stay_floats():
    (record,) = read("lamps.jsonl", b'{"id": 1, "prompt": "p", "far": 1e30, "near": 2.5}')

    assert isinstance(record, Record)
    assert record.extra == {"far": 1e30, "near": 2.5}


def test_an_empty_id_is_none():
    assert [as_id(value, "id") for value in (None, "", b"")] == [None] * 3
