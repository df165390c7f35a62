"""Ratings as tables: one row per rater and what they rate, or one row per record."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.results.agreement.conversion import MISSING, said, words_of
from pipeline.results.agreement.raters import Rater
from pipeline.results.agreement.ratings import Ratings
from pipeline.results.agreement.summary import columns, majority
from pipeline.results.export.questions import unused

RECORD = ("record_id", "paper_id", "question_id", "question")

LONG = pa.schema(
    [
        *((name, pa.string()) for name in RECORD),
        *((name, pa.string()) for name in ("rater", "model", "generation_key", "value", "said")),
    ]
)
"""`model` and `generation_key` are of the answer; `said` is what it says before the conversion."""


def long_table(ratings: Ratings) -> pa.Table:
    """One row per cell: a model and a record, a judge or a person and an answer.

    What nobody has said has no row.
    """
    return pa.concat_tables([LONG.empty_table(), *_cells(ratings)])


def _cells(ratings: Ratings) -> Iterator[pa.Table]:
    models = model_column(ratings)
    for rater in ratings.raters:
        rows = _rated(ratings, rater)
        is_model = rater.kind == "model"
        codes = ratings.own if is_model else ratings.readers[rater]
        taken = ratings.rows.take(rows)
        values = words_of(codes[rows])
        before = said(taken, ratings.conversion, codes[rows]) if is_model else values
        yield pa.table(
            [
                *(taken[name] for name in RECORD),
                pa.repeat(str(rater), len(rows)),
                models.take(rows),
                taken["generation_key"],
                values,
                before,
            ],
            schema=LONG,
        )


def _rated(ratings: Ratings, rater: Rater) -> npt.NDArray[np.int64]:
    """The rows of the answers that a rater's cells are about, in the order of the store."""
    if rater.kind == "model":
        rows = ratings.rows_of(rater)
        rows = rows[rows >= 0]
        return np.sort(rows[ratings.own[rows] != MISSING])
    return np.nonzero(ratings.readers[rater] != MISSING)[0]


def model_column(ratings: Ratings) -> pa.Array:
    return pa.array(ratings.model.names, pa.string()).take(pa.array(ratings.model.codes))


def wide_table(ratings: Ratings) -> pa.Table:
    """One row per record: a column per rater, then what most of them say, and their share."""
    most = majority(ratings)
    taken = ratings.rows.select(RECORD).take(ratings.row_of_record)
    taken_names = {*RECORD, "majority", "majority_share"}
    for name, _, _, codes in columns(ratings):
        taken = taken.append_column(unused(name, taken_names), words_of(codes))
    taken = taken.append_column("majority", words_of(most.codes))
    share = pc.if_else(pa.array(np.isnan(most.share)), None, pa.array(most.share))
    return taken.append_column("majority_share", share)
