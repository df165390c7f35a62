"""The counting rows of a store as an Arrow dataset, for other programs."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.core.filesystem import Location, Storage
from pipeline.store.parts import read_part
from pipeline.store.reader import PartRows, counting_rows
from pipeline.store.schema import ANSWERS, ANSWERS_FOLDER

if TYPE_CHECKING:
    import pyarrow.dataset as ds

ROW_VERSION = ("written_at", "generation_key", "record_id")


def read_answers(uri: str, storage: Mapping[str, Any] | None = None) -> "ds.Dataset":
    """The rows of a store that count at the time of the call, read lazily.

    `uri` is a job's `output.uri`, and `storage` the section of that name in its job file. Columns
    and filters are pushed down to the files. Parts whose rows all count are read as they are; a
    filter drops superseded rows from the others. Raises `StorageError` if the store cannot be read.
    """
    import pyarrow.dataset as ds  # with pandas: every worker would import it
    from pyarrow.fs import FSSpecHandler, PyFileSystem

    folder = Storage(storage or {}).at(uri).join(ANSWERS_FOLDER)
    parts = [part for part in counting_rows(folder) if part.counts.any()]
    whole, tied = ([p for p in parts if p.has_ties is ties] for ties in (False, True))
    filesystem = PyFileSystem(FSSpecHandler(folder.fs))
    paths = [part.path for part in whole]
    files = ds.dataset(paths, schema=ANSWERS, format="parquet", filesystem=filesystem)
    # No filter can tell rows that are equally new apart.
    in_memory = [ds.dataset(_rows(folder, part, part.counts, ANSWERS.names)) for part in tied]
    answers = ds.dataset([files, *in_memory]) if in_memory else files
    superseded = [_superseded(folder, part) for part in whole if not part.counts.all()]
    if not superseded:
        return answers
    versions = _versions(*(pc.field(name) for name in ROW_VERSION))
    return answers.filter(~versions.isin(pa.chunked_array(superseded, pa.string())))


def _superseded(folder: Location, part: PartRows) -> pa.Array:
    rows = _rows(folder, part, ~part.counts, ROW_VERSION)
    return _versions(*(rows[name].combine_chunks() for name in ROW_VERSION))


def _rows(
    folder: Location, part: PartRows, mask: npt.NDArray[np.bool_], columns: Sequence[str]
) -> pa.Table:
    return read_part(folder.fs, part.path, columns).filter(pa.array(mask))


def _versions(written_at: Any, generation_key: Any, record_id: Any) -> Any:
    """Text that identifies a row, from arrays or fields; the id is last: it may hold spaces."""
    time = written_at.cast(pa.int64()).cast(pa.string())
    return pc.binary_join_element_wise(time, generation_key, record_id, " ")
