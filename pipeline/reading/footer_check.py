"""Checks a Parquet footer where pyarrow would end the process.

`RowGroupMetaData.column` compares a column's size statistics with its schema. If a damaged footer
makes them differ, pyarrow (26.0.1, and older ones) throws a C++ `ParquetException` through a Cython
function that is not declared to raise, and the process aborts in `std::terminate`. Its reader makes
the same comparison and raises an ordinary error, so the reader is started here on a file without
bytes. Delete this module once `ParquetFile(damaged).metadata.row_group(0).column(0)` raises.
"""

import io
from contextlib import suppress

import pyarrow as pa
import pyarrow.parquet as pq


def check_columns(file: pq.ParquetFile, size: int, group: int) -> None:
    """Raises pyarrow's error if what the footer says of a row group's columns is inconsistent.

    `size` is the file's, in bytes. Afterwards `row_group(group).column` is safe to call.
    """
    empty = pa.PythonFile(_FileWithoutBytes(size), mode="r")
    reader = pq.ParquetFile(empty, metadata=file.metadata).reader
    for column in range(file.metadata.num_columns):
        with suppress(_FooterPassed):
            next(reader.iter_batches(1, [group], [column]), None)


class _FooterPassed(Exception):
    """The reader has accepted the footer and asks for a column's bytes."""


class _FileWithoutBytes(io.RawIOBase):
    """A file of a given size that can be positioned but not read."""

    def __init__(self, size: int) -> None:
        self._size, self._position = size, 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        starts = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}
        self._position = starts[whence] + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        raise _FooterPassed
