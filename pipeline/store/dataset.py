"""A store for others: its counting rows as an Arrow dataset."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from pyarrow.fs import FSSpecHandler, PyFileSystem

from pipeline.core.filesystem import Location, Storage
from pipeline.store.parts import read_part
from pipeline.store.reader import PartRows, counting_rows
from pipeline.store.schema import ANSWERS, ANSWERS_FOLDER

VERSION = ("written_at", "generation_key", "record_id")


def read_answers(uri: str, storage: Mapping[str, Any] | None = None) -> ds.Dataset:
    """The rows of a store that count, lazily, as they are when this is called.

    `uri` is a job's `output.uri`, `storage` what its job file says under that name. Columns and
    filters reach the files. Parts in which every row counts are read as they are; of the others
    those rows are filtered out that newer ones have superseded. Raises `StorageError` where the
    store cannot be read.
    """
    folder = Storage(storage or {}).at(uri).join(ANSWERS_FOLDER)
    parts = [part for part in counting_rows(folder) if part.counts.any()]
    whole, tied = ([p for p in parts if p.has_ties is ties] for ties in (False, True))
    filesystem = PyFileSystem(FSSpecHandler(folder.fs))
    paths = [part.path for part in whole]
    files = ds.dataset(paths, schema=ANSWERS, format="parquet", filesystem=filesystem)
    # Of rows that are as new as each other no filter could tell one apart.
    held = [ds.dataset(_rows(folder, part, part.counts, ANSWERS.names)) for part in tied]
    answers = ds.dataset([files, *held]) if held else files
    superseded = [_superseded(folder, part) for part in whole if not part.counts.all()]
    if not superseded:
        return answers
    named = [pc.field(name) for name in VERSION]
    versions = _versions(*named)
    return answers.filter(~versions.isin(pa.chunked_array(superseded, pa.string())))


def _superseded(folder: Location, part: PartRows) -> pa.Array:
    rows = _rows(folder, part, ~part.counts, VERSION)
    return _versions(*(rows[name].combine_chunks() for name in VERSION))


def _rows(
    folder: Location, part: PartRows, mask: npt.NDArray[np.bool_], columns: Sequence[str]
) -> pa.Table:
    return read_part(folder.fs, part.path, columns).filter(pa.array(mask))


def _versions(written_at: Any, generation_key: Any, record_id: Any) -> Any:
    """One text for what names a row, from arrays or from a filter's fields; the id, which may hold
    any sign, stands last.
    """
    time = written_at.cast(pa.int64()).cast(pa.string())
    return pc.binary_join_element_wise(time, generation_key, record_id, " ")
