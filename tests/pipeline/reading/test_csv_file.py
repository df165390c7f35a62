"""CSV and TSV: cells, types, rows that are broken, and lines in any chunks."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipeline.config.schema import Fields
from pipeline.core.records import PAYLOAD_BYTES, Fault, Record, Reject
from pipeline.reading.columns import Columns
from pipeline.reading.csv_file import cell_value, csv_items
from pipeline.reading.csv_lines import RowLines
from pipeline.reading.mojibake import repair_text
from pipeline.reading.row_reader import RowReader
from tests.support.hostile import CSV_HEADER, csv_row

URI = "file:///logs/lamps.csv"
LIMIT = 200


def items(*chunks: bytes, limit: int = 10_000, **fields: str) -> list[Record | Reject]:
    rows = RowReader(Columns(Fields(**fields)))
    return list(csv_items(URI, chunks, limit, rows))


def outline(items: Sequence[Record | Reject]) -> list[tuple[int, str]]:
    """Row and id of records, row and reason of rejects."""
    return [(i.place.row, i.record_id if isinstance(i, Record) else i.reason) for i in items]


def table(*rows: bytes) -> bytes:
    return CSV_HEADER + b"".join(rows)


plain_floats = st.floats(-1e15, 1e15).filter(lambda number: "e" not in repr(number))


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("", None),
        ("7", 7),
        ("-12", -12),
        ("0", 0),
        ("1.5", 1.5),
        ("-0.25", -0.25),
        ("18446744073709551615", 2**64 - 1),
        ("true", True),
        ("False", False),
        ("TRUE", True),
        *((text, text) for text in ("007", "-0", "+7", "1.50", "1.", ".5", "1e5", "1,5", "1_000")),
        *((text, text) for text in ("18446744073709551616", "nan", "inf", "0x1F", "٣", " 7", "7 ")),
        ("2024-05-01", "2024-05-01"),
        ("null", "null"),
        ("yes", "yes"),
        ("tRUE", "tRUE"),
        ("0.1234567890123456789", "0.1234567890123456789"),
    ],
)
def test_a_cell_is_a_number_only_if_it_would_be_written_just_so(cell: str, value: Any) -> None:
    assert cell_value(cell) == value
    assert type(cell_value(cell)) is type(value)


@given(st.integers(-(2**63), 2**64 - 1) | plain_floats)
def test_every_number_of_a_cell_is_written_as_it_was(number: float) -> None:
    assert cell_value(repr(number)) == number


@given(st.text(st.sampled_from("0123456789.-+e "), max_size=12))
def test_no_cell_loses_a_digit(cell: str) -> None:
    value = cell_value(cell)
    assert cell == ("" if value is None else str(value))


def test_ids_and_texts_have_no_type() -> None:
    (record,) = items(
        b"record_id,paper_id,nr,question,passages,answer,year\n007,1.50,true,42,7,true,2024\n",
        question_id="nr",
    )

    assert isinstance(record, Record)
    assert (record.record_id, record.paper_id, record.question_id) == ("007", "1.50", "true")
    assert (record.question, record.passages[0].text, record.recorded_answer) == ("42", "7", "true")
    assert record.extra == {"nr": "true", "year": 2024}


def test_an_empty_cell_is_null_and_a_column_without_a_name_is_numbered() -> None:
    (record,) = items(b",id, question ,passages,note,\n0,a,b,c,,\n")

    assert isinstance(record, Record)
    assert record.extra == {"column_1": 0, "note": None}


def test_the_row_of_a_record_is_its_first_line() -> None:
    rows = (csv_row("a", "q\n1", "p"), b"\r\n", csv_row("b", "q", "p\n\n"), csv_row("c", "q", "p"))
    data = table(*rows)

    assert outline(items(data)) == [(1, "a"), (4, "b"), (7, "c")]


def test_a_reject_names_its_lines_as_an_editor_does_and_keeps_them() -> None:
    first, second = items(table(b"x,y\n", b'z,"open\n\n"text" q,p\n', csv_row("a", "q", "p")))[:2]

    assert isinstance(first, Reject)
    assert isinstance(second, Reject)
    assert first.detail.startswith("line 2: 2 cells, but the header names 3 columns")
    assert first.payload == b"x,y\n"
    assert second.detail.startswith("lines 3 to 5: ")
    assert (second.record_id, second.place.row) == (f"{URI}#2", 2)


def test_a_long_payload_is_cut() -> None:
    (reject,) = items(table(b"x" * (PAYLOAD_BYTES + 10) + b"\n"), limit=10**6)

    assert isinstance(reject, Reject)
    assert reject.payload == b"x" * PAYLOAD_BYTES


def test_a_row_of_exactly_the_limit_is_read() -> None:
    row = csv_row("a", "q", "one page\nand another").rstrip()
    data = b"id,question,passages\n" + row + b"\n" + row

    assert outline(items(data, limit=len(row))) == [(1, "a"), (3, "a")]
    assert outline(items(data, limit=len(row) - 1)) == [(1, "too_large"), (3, "too_large")]


def test_rows_before_a_break_are_read() -> None:
    def chunks() -> Iterator[bytes]:
        yield table(csv_row("a", "q", "p"))
        yield b'torn,"q\n and'
        raise Fault("truncated", "ends too early")

    read = list(csv_items(URI, chunks(), 10_000, RowReader()))

    assert outline(read) == [(1, "a"), (2, "truncated")]
    assert isinstance(read[1], Reject)
    assert read[1].payload == b'torn,"q\n and'


def test_a_row_over_the_limit_is_dropped_as_it_streams_by() -> None:
    def chunks() -> Iterator[bytes]:
        yield table(csv_row("a", "q", "p")) + b'x,"'
        for _ in range(1000):
            yield b"x" * 50_000 + b"\n" + b'""' * 25_000
        yield b'",p\r\n' + csv_row("b", "q", "p")

    assert outline(list(csv_items(URI, chunks(), 10_000, RowReader()))) == [
        (1, "a"),
        (2, "too_large"),
        (1003, "b"),
    ]


cells = st.text(
    st.sampled_from('ab,;\t"\n \r') | st.characters(exclude_categories=["Cs"]), max_size=12
)
good_rows = st.tuples(st.just("id"), cells, cells).map(lambda row: csv_row(*row))
bad_rows = st.sampled_from(
    [
        b"x\n", b"x,y\n", b"x,y,z,w\n", b'x,"y" z,w\n', b'x,"y,z\n', b'"', b"\xff,\xff,\xff\n",
        b"\n", b"\r", b'""""\n', b'x","x\n', b",,\n", b"x" * (LIMIT + 20), b'"' + b"y\n" * LIMIT,
    ]
)  # fmt: skip
bad_lines = bad_rows.filter(lambda row: row.endswith(b"\n"))
pieces = st.lists(good_rows | bad_rows | st.binary(max_size=20), max_size=12).map(b"".join)


@settings(max_examples=300, deadline=None)
@given(pieces, st.lists(st.integers(0, 600), max_size=8))
def test_chunk_boundaries_change_nothing(data: bytes, cuts: list[int]) -> None:
    data = table(data)
    borders = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    chunks = [data[a:b] for a, b in pairwise(borders)]

    assert items(*chunks, limit=LIMIT) == items(data, limit=LIMIT)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(cells, cells), max_size=8), bad_lines, st.integers(0, 8))
def test_a_bad_row_costs_no_row_before_it(rows: list[tuple[str, str]], bad: bytes, at: int) -> None:
    good = [csv_row(f"r{i}", "q" + a, "p" + b) for i, (a, b) in enumerate(rows)]
    before = len(good[:at])

    read = items(table(*good[:at], bad, *good[at:]))

    assert [i.record_id for i in read[:before]] == [f"r{i}" for i in range(before)]
    assert all(isinstance(i, Record) for i in read[:before])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(cells, cells), min_size=1, max_size=8), st.sampled_from(",;\t"))
def test_what_a_careful_writer_wrote_is_read_as_it_was(
    rows: list[tuple[str, str]], sign: str
) -> None:
    assume(not any(repair_text(f"{b}\n{a}")[1] for a, b in rows))  # by chance it is mojibake
    sink = io.StringIO()
    writer = csv.writer(sink, delimiter=sign)
    writer.writerow(["id", "question", "passages", "note"])
    for i, (a, b) in enumerate(rows):
        writer.writerow([f"r{i}", "q" + a, json.dumps([b]), "n" + a])

    read = items(sink.getvalue().encode())

    assert [
        (i.record_id, i.question, i.passages[0].text, i.extra["note"])
        for i in read
        if isinstance(i, Record)
    ] == [(f"r{i}", "q" + a, b, "n" + a) for i, (a, b) in enumerate(rows)]
    assert len(read) == len(rows)


@pytest.mark.parametrize(
    "line", [b'x","x\n', b'"\n', b'""\n', b'x,"\n', b'x,"y" z,w\n', b'a,"b,c\n']
)
def test_broken_quotes_on_every_line_are_read_in_linear_time(
    line: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = 0
    real = RowLines.__next__

    def counted(self: RowLines) -> str:
        nonlocal taken
        taken += 1
        return real(self)

    monkeypatch.setattr(RowLines, "__next__", counted)

    items(table(line * 5000), limit=1000)

    assert 5000 < taken < 3 * 5000
