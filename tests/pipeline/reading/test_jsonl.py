"""JSON Lines: numbered, bounded, and independent of how the bytes arrive."""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.records import PAYLOAD_BYTES, Fault, Place, Record, Reject
from pipeline.reading.jsonl import jsonl_items
from pipeline.reading.openai_batch import batch_record
from pipeline.reading.row_reader import RowReader
from pipeline.reading.rows import row_record
from tests.support.hostile import record_line, record_lines

URI = "file:///logs/lamps.jsonl"
LIMIT = 200


def items(*chunks: bytes, limit: int = 10_000, parse: Any = row_record) -> list[Record | Reject]:
    return list(jsonl_items(URI, chunks, limit, RowReader(parse=parse)))


def outline(items: Iterable[Record | Reject]) -> list[tuple[int, str]]:
    """Row and id of records, row and reason of rejects."""
    return [(i.place.row, i.record_id if isinstance(i, Record) else i.reason) for i in items]


pieces = st.one_of(
    st.binary(max_size=30),
    st.sampled_from(
        [
            b"\n", b"\r\n", b"\n\n", b" ", b"\xef\xbb\xbf", b"{", b'{"id": 1}\n', b"\xff", b"\0",
            record_line("good"), record_line("long", passages=["x" * LIMIT]),
            record_line("r", question="Où ?"), b"x" * (LIMIT + 50),
        ]
    ),
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(pieces, max_size=12).map(b"".join), st.lists(st.integers(0, 600), max_size=8))
def test_chunk_boundaries_change_nothing(data: bytes, cuts: list[int]) -> None:
    borders = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    chunks = [data[a:b] for a, b in pairwise(borders)]

    assert items(*chunks, limit=LIMIT) == items(data, limit=LIMIT)


@settings(max_examples=200, deadline=None)
@given(st.lists(pieces, max_size=12).map(b"".join))
def test_every_line_that_is_not_blank_becomes_one_item(data: bytes) -> None:
    lines = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")

    read = items(data, limit=LIMIT)

    assert [i.place.row for i in read] == [n for n, line in enumerate(lines) if line.strip()]
    assert {i.place.uri for i in read} <= {URI}


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300), st.sampled_from([row_record, batch_record]))
def test_any_bytes_become_records_and_rejects(data: bytes, parse: Any) -> None:
    for item in items(data, parse=parse):
        assert isinstance(item, Record) or item.detail


def test_rows_are_line_numbers_blank_lines_counted() -> None:
    data = b"\n" + record_line("a") + b"  \n" + record_line("b")

    assert outline(items(data)) == [(1, "a"), (3, "b")]


def test_a_broken_line_loses_only_itself() -> None:
    data = record_line("a") + b'{"id": "b"\n' + record_line("c")

    assert outline(items(data)) == [(0, "a"), (1, "invalid_json"), (2, "c")]


def test_a_reject_carries_its_line() -> None:
    (reject,) = items(b'  {"id": "b"  \r\n')

    assert isinstance(reject, Reject)
    assert reject.payload == b'{"id": "b"'


def test_a_reject_keeps_the_id_of_its_line() -> None:
    (reject,) = items(record_line("b", question=...))

    assert (reject.record_id, reject.place) == ("b", Place(URI, 0))


def test_a_reject_without_an_id_is_named_by_its_place() -> None:
    assert [i.record_id for i in items(b"\n[]\n{\n")] == [f"{URI}#1", f"{URI}#2"]


def test_a_long_payload_is_cut() -> None:
    (reject,) = items(b"[" * (PAYLOAD_BYTES + 10), limit=10**6)

    assert isinstance(reject, Reject)
    assert reject.payload == b"[" * PAYLOAD_BYTES


def test_a_line_of_exactly_the_limit_is_read() -> None:
    line = record_line("a").rstrip(b"\n")

    assert outline(items(line + b"\n" + line, limit=len(line))) == [(0, "a"), (1, "a")]
    assert outline(items(line + b"\n" + line, limit=len(line) - 1)) == [
        (0, "too_large"),
        (1, "too_large"),
    ]


def test_a_line_over_the_limit_is_dropped_as_it_streams_by() -> None:
    def chunks() -> Iterator[bytes]:
        yield record_line("a")
        for _ in range(1000):
            yield b"x" * 100_000
        yield b"\n" + record_line("b")

    (before, reject, after) = jsonl_items(URI, chunks(), 10_000, RowReader())

    assert outline([before, reject, after]) == [(0, "a"), (1, "too_large"), (2, "b")]
    assert isinstance(reject, Reject)
    assert set(reject.payload) == {ord("x")}


def test_lines_before_a_break_are_read() -> None:
    def chunks() -> Iterator[bytes]:
        yield record_lines(2)
        yield b'{"id": "torn'
        raise Fault("truncated", "ends too early")

    read = list(jsonl_items(URI, chunks(), 10_000, RowReader()))

    assert outline(read) == [(0, "r0"), (1, "r1"), (2, "truncated")]
    assert isinstance(read[2], Reject)
    assert read[2].payload == b'{"id": "torn'


def test_a_break_at_the_end_of_a_line_is_a_reject_too() -> None:
    def chunks() -> Iterator[bytes]:
        yield record_lines(1)
        raise Fault("corrupt", "cannot be decompressed")

    assert outline(jsonl_items(URI, chunks(), 10_000, RowReader())) == [(0, "r0"), (1, "corrupt")]


def test_a_byte_order_mark_is_skipped_only_at_the_beginning() -> None:
    bom = b"\xef\xbb\xbf"

    assert outline(items(bom + record_line("a") + bom + record_line("b"))) == [
        (0, "a"),
        (1, "invalid_json"),
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"a": 1} {"a": 2}', "invalid_json"),
        (b'{"a": NaN}', "invalid_json"),
        (b'{"a": "\xff"}', "not_utf8"),
        (b"\xff", "not_utf8"),
        (b'{"a": "\\ud800"}', "invalid_json"),
        (b"{'a': 1}", "invalid_json"),
        (b'{"a": 1,}', "invalid_json"),
        (b"null", "wrong_type"),
        (b"true", "wrong_type"),
        (b"0", "wrong_type"),
        (b'"{}"', "wrong_type"),
        (b"[{}]", "wrong_type"),
        (b"{}", "missing_field"),
    ],
)
def test_the_reject_of_a_line_gives_the_reason(line: bytes, reason: str) -> None:
    assert outline(items(line)) == [(0, reason)]


def test_no_bytes_are_no_items() -> None:
    assert items() == []
    assert items(b"", b"") == []
    assert items(b"\n\r\n \t\n") == []
