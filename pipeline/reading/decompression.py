"""Decompresses gzip and zstd streams on the way, within a bound of memory."""

import gzip
import io
import re
import sys
import zlib
from collections.abc import Iterator
from contextlib import suppress

from pipeline.core.records import Fault
from pipeline.reading.expansion_limit import ExpansionLimit

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CHUNK = 256 * 1024

WINDOW_BYTES = 2**29
"""The most of a zstd stream's past that is kept in memory to decompress the rest."""

_GZIP = b"\x1f\x8b"
_ZSTD_FRAME = b"\x28\xb5\x2f\xfd"
_ZSTD = re.compile(re.escape(_ZSTD_FRAME) + rb"|[\x50-\x5f]\x2a\x4d\x18")  # or a skippable frame
_ZSTD_HEADER_BYTES = 18
_TOO_MUCH_MEMORY = ("too much memory", "not enough memory")


def decoded(stream: io.BufferedReader, expansion: ExpansionLimit) -> Iterator[bytes]:
    """A stored file's bytes, decompressed as its magic bytes say.

    Yields everything up to a fault, then raises `Fault`: if the stream is cut off, damaged, expands
    too far or needs too large a window.
    """
    head = stream.peek(_ZSTD_HEADER_BYTES)[:_ZSTD_HEADER_BYTES]
    source: io.BufferedReader | gzip.GzipFile | zstd.ZstdFile = stream
    most = None
    if head.startswith(_GZIP):
        source = gzip.GzipFile(fileobj=stream)
    elif _ZSTD.match(head):
        window = _window(head)
        most = WINDOW_BYTES if window > WINDOW_BYTES else None
        source = _zstd_file(stream, window)
    try:
        expanded = 0
        while chunk := source.read1(CHUNK):
            expanded += len(chunk)
            expansion.check(expanded, stream.tell())
            if most is not None and expanded > most:
                raise _window_fault()
            yield chunk
    except EOFError as error:
        raise Fault("truncated", "the compressed stream ends too early") from error
    except (gzip.BadGzipFile, zlib.error, zstd.ZstdError) as error:
        if any(words in str(error) for words in _TOO_MUCH_MEMORY):
            raise _window_fault() from error
        raise Fault("corrupt", f"cannot be decompressed: {error}") from error


def _zstd_file(stream: io.BufferedReader, window: int) -> zstd.ZstdFile:
    """A decompressor for the window that the first frame needs.

    No more of a window takes memory than there are bytes in it. So a short stream is read however
    large a window its frame names.
    """
    limit = zstd.DecompressionParameter.window_log_max
    log = limit.bounds()[1] if window > WINDOW_BYTES else WINDOW_BYTES.bit_length() - 1
    return zstd.ZstdFile(stream, options={limit: log})


def _window(head: bytes) -> int:
    """Bytes of the window that a zstd frame names (RFC 8878, 3.1.1.1); 0 if it names none."""
    if not head.startswith(_ZSTD_FRAME) or len(head) < 6:
        return 0
    if head[4] & 0x20:  # a single segment: the window is the whole content
        with suppress(zstd.ZstdError):  # for a damaged header
            return zstd.get_frame_info(head).decompressed_size or 0
        return 0
    base = 1 << (10 + (head[5] >> 3))
    return base + base // 8 * (head[5] & 7)


def _window_fault() -> Fault:
    return Fault(
        "too_large",
        f"needs more than {WINDOW_BYTES:,} bytes of its past to be decompressed; compress it again "
        f"with zstd --long={WINDOW_BYTES.bit_length() - 1} or less, or with gzip",
    )
