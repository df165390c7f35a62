"""Who says yes or no to what: the cells that agreement is measured on.

A *model* rates a record by the newest answer that it gave. A *judge* and a *person* rate answers:
their cells are about one answer of one model. So two models are compared record by record, and
all others answer by answer.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.core.errors import ConfigError
from pipeline.core.filesystem import Location
from pipeline.core.text import harmless
from pipeline.results.agreement import conversion as conversions
from pipeline.results.agreement.conversion import MISSING, Codes, Conversion, check_of
from pipeline.results.agreement.raters import (
    Coded,
    Kind,
    Numbers,
    Rater,
    chosen,
    judges_of,
    model_names,
    not_empty,
    people_of,
)
from pipeline.results.corrections.standing import Standing, standing
from pipeline.results.papers import paper_keys
from pipeline.store.reader import BY_GENERATION, read_rows, written_micros

COLUMNS = (
    "record_id",
    "generation_key",
    "paper_id",
    "question_id",
    "question",
    "model",
    "adapter",
    "engine",
    "stance",
    "answers_question",
    "p_answered",
    "judgements",
    "word_count",
    "written_at",
)
OF_CHECKS = ("checks.list.element.name", "checks.list.element.passed")
"""Columns for a conversion that is about a check, besides the others."""

NO_QUESTION = "(no question)"


class Cells(NamedTuple):
    """What two or more raters say about the same things: arrays of equal length."""

    codes: Sequence[Codes]
    paper: Numbers
    question: Numbers


@dataclass(frozen=True)
class Ratings:
    """All cells of a store. Arrays have one entry per answer that counts."""

    rows: pa.Table
    conversion: Conversion
    own: Codes  # what the answer itself counts as
    readers: dict[Rater, Codes]  # judges and people
    raters: Sequence[Rater]  # that are compared
    stale: int  # corrections about another text

    @cached_property
    def record(self) -> Coded:
        return Coded.of(self.rows["record_id"])

    @cached_property
    def paper(self) -> Coded:
        ids = (self.rows[name].combine_chunks() for name in ("paper_id", "record_id"))
        return Coded.of(paper_keys(*ids))

    @cached_property
    def question(self) -> Coded:
        names = (not_empty(self.rows[name]) for name in ("question_id", "question"))
        return Coded.of(pc.coalesce(*names, NO_QUESTION))

    @cached_property
    def model(self) -> Coded:
        return Coded.of(model_names(self.rows))

    @cached_property
    def row_of_record(self) -> Numbers:
        """Some row of each record: all have the same paper and question."""
        rows = np.zeros(len(self.record.names), np.int64)
        rows[self.record.codes] = np.arange(len(self.record.codes))
        return rows

    def rows_of(self, model: Rater) -> Numbers:
        """The row of the newest answer of a model to each record; -1 where it has none."""
        (mine,) = np.nonzero(self.model.codes == self.model.names.index(model.name))
        in_time = mine[np.argsort(written_micros(self.rows)[mine], kind="stable")]
        rows = np.full(len(self.record.names), -1, np.int64)
        rows[self.record.codes[in_time]] = in_time  # of several, the last stays
        return rows

    def by_record(self, model: Rater, codes: Codes | None = None) -> Codes:
        """What a model says to each record; or what `codes`, a reader's, say of its answers."""
        rows = self.rows_of(model)
        values = (self.own if codes is None else codes)[rows]
        values[rows < 0] = MISSING
        return values

    def cells(self, *raters: Rater) -> Cells:
        """What raters say about the same things: records for models, else answers."""
        if all(rater.kind == "model" for rater in raters):
            at = self.row_of_record
            codes = [self.by_record(rater) for rater in raters]
            return Cells(codes, self.paper.codes[at], self.question.codes[at])
        return Cells(
            [self._by_answer(rater) for rater in raters], self.paper.codes, self.question.codes
        )

    def _by_answer(self, rater: Rater) -> Codes:
        if rater.kind != "model":
            return self.readers[rater]
        mine = self.model.codes == self.model.names.index(rater.name)
        return np.where(mine, self.own, np.int8(MISSING))

    @property
    def unconverted(self) -> int:
        """Answers that have words, and nothing that the conversion could go by."""
        return int(((self.own == MISSING) & ~conversions.is_empty(self.rows)).sum())

    def of_kind(self, kind: Kind) -> list[Rater]:
        return [rater for rater in self.raters if rater.kind == kind]


def read_ratings(
    store: Location, wanted: Iterable[str] = (), conversion: Conversion | None = None
) -> Ratings:
    """All ratings in a store, or those of the wanted kinds and raters.

    Raises `ConfigError` for an unknown rater, and where there are not two to compare.
    """
    columns = (*COLUMNS, *OF_CHECKS) if check_of(conversion or "") else COLUMNS
    tables = list(read_rows(store, BY_GENERATION, columns))
    if not tables:
        raise ConfigError(f"{store.uri}: no answers there; start with overnight run")
    ratings = ratings_of(pa.concat_tables(tables), standing(store), conversion, wanted)
    if len(ratings.raters) < 2:
        found = ", ".join(harmless(str(rater)) for rater in ratings.raters) or "no rater"
        raise ConfigError(
            f"{store.uri}: agreement takes two raters, and there is {found}; let another model "
            "answer into the same store, add a judge, or take corrections in (overnight correct)"
        )
    return ratings


def ratings_of(
    rows: pa.Table,
    people: Standing,
    asked_for: Conversion | None = None,
    wanted: Iterable[str] = (),
) -> Ratings:
    """The same for rows that count and corrections, however many raters there are."""
    conversion = asked_for or conversions.default_conversion(rows)
    models = [Rater("model", name) for name in sorted({*model_names(rows).to_pylist()})]
    judges = {} if check_of(conversion) else judges_of(rows)
    readers = {**judges, **people_of(rows, people, conversion)}
    raters = chosen([*models, *readers], wanted)
    own = conversions.convert(rows, conversion)
    if asked_for and (own == MISSING).all():
        raise ConfigError(
            f"--conversion {harmless(asked_for)}: no answer in the store has what it goes by; "
            "overnight recheck may fill it in, or name another"
        )
    return Ratings(rows, conversion, own, readers, raters, len(people.stale))
