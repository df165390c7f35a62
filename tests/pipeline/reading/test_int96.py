"""INT96 timestamps: the right date, however far it is."""

import io
import struct
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.records import Record
from pipeline.reading.expansion_limit import ExpansionLimit
from pipeline.reading.parquet import parquet_items
from pipeline.reading.row_reader import RowReader

NEAR = datetime.fromisoformat("2024-02-29 12:30:00.250000")
EPOCH, FIRST = map(datetime.fromisoformat, ("1970-01-01", "0001-01-01"))


def read(values: list[Any], type_: pa.DataType) -> list[Any]:
    """What comes of a column `seen` of type INT96; `values` are written as nanoseconds."""
    return [item.extra["seen"] for item in records(parquet(values, type_))]


def parquet(values: list[Any], type_: pa.DataType) -> bytes:
    sink = io.BytesIO()
    table = pa.table({"prompt": ["Name a lamp."] * len(values), "seen": pa.array(values, type_)})
    pq.write_table(
        table,
        sink,
        use_deprecated_int96_timestamps=True,
        use_dictionary=False,
        compression="none",
        store_schema=False,
    )
    return sink.getvalue()


def records(data: bytes) -> list[Record]:
    stream = io.BufferedReader(io.BytesIO(data))  # type: ignore[type-var]
    items = list(
        parquet_items("file:///seen.parquet", stream, 10_000, ExpansionLimit(200), RowReader())
    )
    assert all(isinstance(item, Record) for item in items)
    return items


def int96(moment: datetime) -> bytes:
    since = moment - EPOCH
    nanoseconds = since.seconds * 10**9 + since.microseconds * 1000
    return struct.pack("<qi", nanoseconds, since.days + 2_440_588)


def written_by_spark(moments: list[datetime], nested: bool = False) -> bytes:
    """A file with these moments: near ones as pyarrow writes them, then their bytes replaced."""
    places = [NEAR + timedelta(days=i) for i in range(len(moments))]
    values = [[{"at": [place]}] if nested else place for place in places]
    at = pa.timestamp("ns")
    type_ = pa.list_(pa.struct([("at", pa.list_(at))])) if nested else at
    data = parquet(values, type_)
    for place, moment in zip(places, moments, strict=True):
        assert data.count(int96(place)) == 1
        data = data.replace(int96(place), int96(moment))
    return data


@pytest.mark.parametrize("year", [1, 1066, 1582, 1676, 1677, 1678, 2024, 2261, 2262, 2263, 9999])
def test_a_date_of_any_year_is_right(year):
    moment = datetime.fromisoformat(f"{year:04}-12-31 23:59:59.999999")
    (record,) = records(written_by_spark([moment]))

    assert str(record.extra["seen"]).removesuffix("000") == str(moment)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.datetimes(), min_size=1, max_size=300, unique=True), st.booleans())
def test_every_date_is_right_at_any_depth(moments, nested):
    got = [r.extra["seen"] for r in records(written_by_spark(moments, nested))]

    flat = [value[0]["at"][0] for value in got] if nested else got
    assert list(map(str, flat)) == list(map(str, moments))


def test_a_near_date_keeps_its_nanoseconds_beside_a_far_one():
    data = written_by_spark([NEAR, FIRST])
    (near, far) = records(data.replace(int96(NEAR), later(NEAR, 7)))

    assert str(near.extra["seen"]) == "2024-02-29 12:30:00.250000007"
    assert str(far.extra["seen"]) == "0001-01-01 00:00:00"


def later(moment: datetime, nanoseconds: int) -> bytes:
    of_day, day = struct.unpack("<qi", int96(moment))
    return struct.pack("<qi", of_day + nanoseconds, day)


@pytest.mark.parametrize(
    ("day", "text"),
    [
        (2_440_588 + 2_932_897, "10000-01-01 00:00:00"),
        (1_721_425, "0000-12-31 00:00:00"),
        (2_440_588 + 10_000_000, "29349-01-26 00:00:00"),
        (2**31 - 1, "<value out of range: 185331720297600>"),
    ],
)
def test_a_date_beyond_python_is_text_and_never_another_date(day, text):
    data = written_by_spark([NEAR]).replace(int96(NEAR), struct.pack("<qi", 0, day))

    (record,) = records(data)

    assert record.extra["seen"] == text


def test_a_missing_date_is_none():
    assert read([None, NEAR], pa.timestamp("ns"))[0] is None
