"""Zstd streams with windows of every size: read, or a reject that says what is wrong."""

import io
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.records import Fault
from pipeline.reading import decompression
from pipeline.reading.decompression import decoded
from pipeline.reading.expansion_limit import ExpansionLimit

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

P = zstd.CompressionParameter
LINES = b"".join(b'{"id": "%d", "prompt": "Name a lamp."}\n' % i for i in range(200_000))


def packed(data: bytes, window_log: int, *, size_known: bool = False) -> bytes:
    """A frame that needs this window; without its content's size the header must name it."""
    options = {P.window_log: window_log, P.enable_long_distance_matching: 1}
    compressor = zstd.ZstdCompressor(options=options)
    if size_known:
        compressor.set_pledged_input_size(len(data))
        return compressor.compress(data, compressor.FLUSH_FRAME)
    pieces = [compressor.compress(data[i : i + 1000]) for i in range(0, len(data), 1000)]
    return b"".join((*pieces, compressor.flush()))


def read(data: bytes) -> tuple[bytes, Fault | None]:
    """What is decompressed, and the fault after it."""
    sink = io.BytesIO()
    stream = io.BufferedReader(io.BytesIO(data))  # type: ignore[type-var]
    try:
        sink.writelines(decoded(stream, ExpansionLimit(1e6)))
    except Fault as fault:
        return sink.getvalue(), fault
    return sink.getvalue(), None


@pytest.mark.parametrize("size_known", [False, True])
@pytest.mark.parametrize("window_log", range(10, 32))
def test_a_short_stream_is_read_whatever_window_it_names(window_log, size_known):
    assert read(packed(LINES[:5_000], window_log, size_known=size_known)) == (LINES[:5_000], None)


def test_a_stream_that_needs_too_much_of_its_past_is_read_up_to_there(monkeypatch):
    monkeypatch.setattr(decompression, "WINDOW_BYTES", 2**20)
    head, fault = read(packed(LINES, 24))

    assert fault is not None
    assert (fault.reason, "zstd --long=20 or less" in fault.detail) == ("too_large", True)
    assert LINES.startswith(head)
    assert 2**19 < len(head) <= 2**20


def test_a_long_stream_with_a_window_within_the_bound_is_read(monkeypatch):
    monkeypatch.setattr(decompression, "WINDOW_BYTES", 2**20)

    assert read(packed(LINES, 20)) == (LINES, None)


def test_a_later_frame_that_needs_a_larger_window_is_no_damage(monkeypatch):
    monkeypatch.setattr(decompression, "WINDOW_BYTES", 2**20)
    head, fault = read(packed(LINES[:5_000], 20) + packed(LINES, 24))

    assert fault is not None
    assert (head, fault.reason) == (LINES[:5_000], "too_large")


def test_a_window_beyond_all_that_zstd_knows_is_no_damage():
    frame = bytearray(packed(LINES[:5_000], 20))
    frame[5] = 0xF8  # 2**41 bytes

    head, fault = read(bytes(frame))

    assert fault is not None
    assert (head, fault.reason) == (b"", "too_large")


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_damaged_header_is_a_fault_or_the_content(data):
    frame = bytearray(packed(LINES[:500], data.draw(st.integers(10, 31))))
    for place in data.draw(st.lists(st.integers(4, 17), max_size=3)):
        frame[place] = data.draw(st.integers(0, 255))

    _, fault = read(bytes(frame[: data.draw(st.integers(4, len(frame)))]))

    assert fault is None or fault.reason in ("corrupt", "truncated", "too_large")
