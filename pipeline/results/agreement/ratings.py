"""Who says yes or no to what: the cells that agreement is measured on.

A *model* rates a record by the newest answer that it gave. A *judge* and a *person* rate answers:
their cells are about one answer of one model. So two models are compared record by record, and
all others answer by answer.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple, Self, TypeAlias, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.core.errors import ConfigError, nearest
from pipeline.core.filesystem import Location
from pipeline.core.text import harmless
from pipeline.results.agreement import conversion as conversions
from pipeline.results.agreement.conversion import MISSING, WORDS, Codes, Conversion
from pipeline.results.corrections.standing import Standing, standing
from pipeline.results.papers import paper_keys
from pipeline.store.reader import BY_GENERATION, read_rows, written_micros

Kind: TypeAlias = Literal["model", "judge", "human"]
Numbers: TypeAlias = npt.NDArray[np.int64]

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
FIELD = "answers_question"
"""The field of corrections that counts."""

OF_SUPPORT = "supported@"
"""Begins the name of a judge that says whether the passages hold an answer, not whether it answers:
it is compared with others only where it is named."""

NO_QUESTION = "(no question)"


class Rater(NamedTuple):
    kind: Kind
    name: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"

    @property
    def shown(self) -> str:
        """What a person is shown: a model by its name alone, since most raters are models."""
        return self.name if self.kind == "model" else str(self)


class Coded(NamedTuple):
    """A column of texts as numbers."""

    codes: Numbers
    names: list[str]

    @classmethod
    def of(cls, column: pa.ChunkedArray | pa.Array) -> Self:
        whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        encoded = whole.dictionary_encode()
        return cls(encoded.indices.to_numpy().astype(np.int64), encoded.dictionary.to_pylist())


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
        names = (_not_empty(self.rows[name]) for name in ("question_id", "question"))
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

    def of_kind(self, kind: Kind) -> list[Rater]:
        return [rater for rater in self.raters if rater.kind == kind]


def read_ratings(
    store: Location, wanted: Iterable[str] = (), conversion: Conversion | None = None
) -> Ratings:
    """All ratings in a store, or those of the wanted kinds and raters.

    Raises `ConfigError` for an unknown rater, and where there are not two to compare.
    """
    tables = list(read_rows(store, BY_GENERATION, COLUMNS))
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
    conversion: Conversion | None = None,
    wanted: Iterable[str] = (),
) -> Ratings:
    """The same for rows that count and corrections, however many raters there are."""
    conversion = conversion or conversions.default_conversion(rows)
    models = [Rater("model", name) for name in sorted({*model_names(rows).to_pylist()})]
    readers = {**_judges(rows), **_people(rows, people)}
    raters = chosen([*models, *readers], wanted)
    own = conversions.convert(rows, conversion)
    return Ratings(rows, conversion, own, readers, raters, len(people.stale))


def model_names(rows: pa.Table) -> pa.ChunkedArray:
    """Who answered: the adapter, or the model, or an engine without one."""
    return pc.coalesce(*(_not_empty(rows[name]) for name in ("adapter", "model", "engine")), "?")


def chosen(raters: Sequence[Rater], wanted: Iterable[str]) -> list[Rater]:
    """The raters of the wanted kinds and names; by default all kinds.

    Raises `ConfigError` for one that is not there.
    """
    names = [name.strip() for item in wanted for name in item.split("|") if name.strip()]
    known = {*get_args(Kind), *map(str, raters), *(rater.name for rater in raters)}
    for name in names:
        if name not in known:
            near = nearest(name, map(harmless, known))
            raise ConfigError(f"--raters {harmless(name)}: no such rater in the store{near}")
    meant = {*(names or get_args(Kind))}
    return [
        rater
        for rater in raters
        if {rater.name, str(rater)} & meant
        or (rater.kind in meant and not rater.name.startswith(OF_SUPPORT))
    ]


def _not_empty(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.if_else(pc.equal(column, ""), None, column)


def _judges(rows: pa.Table) -> dict[Rater, Codes]:
    """What each judge says of the answers; the last of several judgements of one counts.

    A judge that says neither yes, no nor unsure rates something else, and is none here.
    """
    lists = rows["judgements"].combine_chunks()
    parents = pc.list_parent_indices(lists).to_numpy()
    flat = pc.list_flatten(lists)
    names = Coded.of(pc.fill_null(pc.struct_field(flat, "rater"), "?"))
    codes = conversions.codes_of(pc.struct_field(flat, "value"))
    judges = {}
    for number, name in enumerate(names.names):
        mine = names.codes == number
        says = np.full(rows.num_rows, MISSING, np.int8)
        says[parents[mine]] = codes[mine]
        if (says != MISSING).any():
            judges[Rater("judge", name.removeprefix("judge:"))] = says
    return dict(sorted(judges.items()))


def _people(rows: pa.Table, people: Standing) -> dict[Rater, Codes]:
    if not people.counting:
        return {}
    code_of = {word: code for code, word in WORDS.items()}
    says: dict[Rater, Codes] = {}
    keys = zip(*(rows[name].to_pylist() for name in BY_GENERATION), strict=True)
    for row, key in enumerate(keys):
        for c in people.counting.get(key, {}).get(FIELD, ()):
            rater = Rater("human", c.annotator)
            if rater not in says:
                says[rater] = np.full(rows.num_rows, MISSING, np.int8)
            says[rater][row] = code_of[c.value]
    return dict(sorted(says.items()))
