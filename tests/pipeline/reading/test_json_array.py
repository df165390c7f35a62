"""JSON arrays: cut into their elements, however the bytes arrive, and read like lines of JSONL."""

import json
import tracemalloc
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.records import Fault, Record, Reject
from pipeline.reading.json_array import is_one_document, json_items
from pipeline.reading.jsonl import jsonl_items
from pipeline.reading.row_reader import RowReader
from tests.support.hostile import ids, record_line, record_lines

URI = "file:///logs/lamps.json"
LIMIT = 200


def items(*chunks: bytes, limit: int = 10_000) -> list[Record | Reject]:
    return list(json_items(URI, chunks, limit, RowReader()))


def outline(items: Sequence[Record | Reject]) -> list[tuple[int, str]]:
    """Row and id of records, row and reason of rejects."""
    return [(i.place.row, i.record_id if isinstance(i, Record) else i.reason) for i in items]


def array(*elements: bytes) -> bytes:
    return b"[" + b",".join(elements) + b"]"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.sampled_from('"\\[]{},:\n ') | st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
rows = st.fixed_dictionaries(
    {"id": st.just("a"), "question": st.just("Which?"), "passages": st.just(["Amber."])},
    optional={"extra": json_values, "note": json_values},
)


@settings(max_examples=300, deadline=None)
@given(st.lists(rows | json_values, max_size=6), st.sampled_from([None, 0, 2]))
def test_elements_are_read_like_lines(values: list[Any], indent: int | None) -> None:
    document = json.dumps(values, indent=indent).encode()
    lines = b"".join(json.dumps(value).encode() + b"\n" for value in values)

    read = items(document)
    expected = list(jsonl_items(URI, [lines], 10_000, RowReader()))

    assert outline(read) == outline(expected)
    assert [i for i in read if isinstance(i, Record)] == [
        i for i in expected if isinstance(i, Record)
    ]


pieces = st.one_of(
    st.binary(max_size=20),
    st.sampled_from(
        [
            b",", b"[", b"]", b"{", b"}", b'"', b"\\", b'\\"', b'"\\\\"', b" \n", b"\xef\xbb\xbf",
            record_line("good"), record_line("long", passages=["x, [" * LIMIT]), b"x" * LIMIT * 2,
        ]
    ),
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(
    st.lists(pieces, max_size=12).map(b"".join),
    st.sampled_from([b"", b"[", b"\xef\xbb\xbf ["]),
    st.lists(st.integers(0, 600), max_size=8),
)
def test_chunk_boundaries_change_nothing(data: bytes, start: bytes, cuts: list[int]) -> None:
    data = start + data
    borders = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    chunks = [data[a:b] for a, b in pairwise(borders)]

    assert outline(items(*chunks, limit=LIMIT)) == outline(items(data, limit=LIMIT))


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 400))
def test_all_elements_before_a_cut_are_read(cut: int) -> None:
    lines = record_lines(4).splitlines()
    whole = array(*lines)
    ends = [len(array(*lines[:n])) for n in range(1, 5)]

    read = items(whole[:cut]) if cut < len(whole) else items(whole)

    complete = sum(end <= cut for end in ends)
    assert outline(read)[:complete] == list(enumerate(ids(complete)))
    assert len(read) <= complete + 1
    assert cut >= len(whole) or cut == 0 or isinstance(read[-1], Reject)


def test_a_break_of_the_stream_loses_the_rest() -> None:
    def chunks() -> Iterator[bytes]:
        yield array(*record_lines(2).splitlines())[:-1] + b', {"id": "torn'
        raise Fault("truncated", "ends too early")

    read = list(json_items(URI, chunks(), 10_000, RowReader()))

    assert outline(read) == [(0, "r0"), (1, "r1"), (2, "truncated")]
    assert isinstance(read[2], Reject)
    assert read[2].payload == b' {"id": "torn'


def test_an_element_over_the_limit_is_dropped_as_it_streams_by() -> None:
    def chunks() -> Iterator[bytes]:
        yield b"[" + record_line("a") + b', {"x": "'
        for _ in range(1000):
            yield b'], \\" [' * 20_000
        yield b'"},' + record_line("b") + b"]"

    tracemalloc.start()
    read = list(json_items(URI, chunks(), 10_000, RowReader()))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert outline(read) == [(0, "a"), (1, "too_large"), (2, "b")]
    assert peak < 4 * 2**20


def test_an_element_of_exactly_the_limit_is_read() -> None:
    line = record_line("a").rstrip()

    assert outline(items(array(line, line), limit=len(line))) == [(0, "a"), (1, "a")]
    assert outline(items(array(line, line), limit=len(line) - 1)) == [
        (0, "too_large"),
        (1, "too_large"),
    ]


def test_a_number_beyond_64_bits_keeps_its_digits() -> None:
    (record,) = items(array(record_line("a", year=10**40)))

    assert isinstance(record, Record)
    assert record.extra == {"year": str(10**40)}


def test_an_object_around_the_array_is_a_reject_that_says_so() -> None:
    (reject,) = items(b'{"data": [' + record_line("a") + b"]}")

    assert isinstance(reject, Reject)
    assert reject.reason == "invalid_json"
    assert "one object, not an array" in reject.detail
    assert reject.payload.startswith(b'{"data"')


@pytest.mark.parametrize(
    ("head", "is_one"),
    [
        (b"[", True),
        (b"\xef\xbb\xbf \n [\n", True),
        (b"{\n", True),
        (b'{"data": [\r\n', True),
        (b'{"data": [1]}\n', False),
        (b'{"id": "a", "passages": [', False),
        (b'{"id": "torn\n{"id": 1}\n', False),
        (b"", False),
        (b"\n\n", False),
        (b"3\n", False),
    ],
)
def test_a_json_file_is_one_document_if_it_begins_like_one(head: bytes, is_one: bool) -> None:
    assert is_one_document(head) is is_one
