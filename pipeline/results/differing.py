"""Records about which models differ, and how many answers there is each reason to read.

Both take every row of a store, but few and small columns: one pass, several parts at a time.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.core.filesystem import Location
from pipeline.results import reading_order
from pipeline.results.reading_order import (
    NOWHERE,
    REASONS,
    SIDES,
    Hashes,
    Mask,
    Reason,
    as_mask,
    hashes_of,
    rank,
)
from pipeline.store.parts import read_parts, with_parts
from pipeline.store.reader import newest, written_micros
from pipeline.store.schema import ANSWERS, ANSWERS_FOLDER

BY_MODEL = ("record_id", "model", "adapter")
"""The newest answer of every model to every record."""

COLUMNS = (*reading_order.COLUMNS, "model", "adapter", "written_at")


class _Rows(NamedTuple):
    """Rows of a store: arrays that take 30 bytes a row."""

    records: Hashes
    by_model: Hashes  # of `BY_MODEL`
    times: npt.NDArray[np.int64]
    yes: Mask
    no: Mask
    found: Mask  # of shape (n, 4): the reasons that a row itself gives

    def newest(self, keys: Hashes) -> "_Rows":
        """The newest row of every key."""
        at = newest(keys.view(np.int64), self.times)
        yes, no, found = self.yes[at], self.no[at], self.found[at]
        return _Rows(self.records[at], self.by_model[at], self.times[at], yes, no, found)


def differing_records(store: Location) -> Hashes:
    """Sorted digests of the records to which one model's newest answer is yes, another's no."""
    if len(_models(store)) < 2:
        return NOWHERE
    return _differing(_read(store))


def _models(store: Location) -> set[tuple[str | None, ...]]:
    """The models that answered, with their adapters."""
    folder = store.join(ANSWERS_FOLDER)
    return with_parts(folder, lambda parts: _models_in(folder, parts))


def _models_in(folder: Location, parts: Sequence[str]) -> set[tuple[str | None, ...]]:
    names = BY_MODEL[1:]
    tables = (rows.group_by(names).aggregate([]) for rows in read_parts(folder.fs, parts, names))
    return {tuple(row.values()) for table in tables for row in table.to_pylist()}


def count_reasons(store: Location) -> Counter[Reason]:
    """How many records' newest answers there is each reason to read; an answer may have several."""
    rows = _read(store)
    differing = _differing(rows)
    answers = rows.newest(rows.records)
    answers.found[:, REASONS.index("differing")] |= np.isin(answers.records, differing)
    return Counter(dict(zip(REASONS, answers.found.sum(axis=0).tolist(), strict=True)))


def _differing(rows: _Rows) -> Hashes:
    of_models = rows.newest(rows.by_model)
    return np.intersect1d(of_models.records[of_models.yes], of_models.records[of_models.no])


def _read(store: Location) -> _Rows:
    folder = store.join(ANSWERS_FOLDER)
    return with_parts(folder, lambda parts: _read_parts(folder, parts))


def _read_parts(folder: Location, parts: Sequence[str]) -> _Rows:
    tables = [_reduced(rows) for rows in read_parts(folder.fs, parts, COLUMNS)]
    tables = tables or [_reduced(ANSWERS.empty_table())]
    return _Rows(*map(np.concatenate, zip(*tables, strict=True)))


def _reduced(rows: pa.Table) -> _Rows:
    names = (pc.fill_null(rows[name], "") for name in BY_MODEL)
    yes, no = (as_mask(pc.equal(rows["answers_question"], verdict)) for verdict in SIDES)
    return _Rows(
        hashes_of(rows["record_id"]),
        hashes_of(pc.binary_join_element_wise(*names, "\0")),
        written_micros(rows),
        yes,
        no,
        rank(rows).found.T,
    )
