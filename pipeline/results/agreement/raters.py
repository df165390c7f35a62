"""Raters: who they are, and what judges and people say of answers."""

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple, Self, TypeAlias, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.core.errors import ConfigError, nearest
from pipeline.core.text import harmless
from pipeline.results.agreement import conversion as conversions
from pipeline.results.agreement.conversion import MISSING, Codes, Conversion, check_of
from pipeline.results.corrections.standing import Standing
from pipeline.store.reader import BY_GENERATION

Kind: TypeAlias = Literal["model", "judge", "human"]
Numbers: TypeAlias = npt.NDArray[np.int64]

ANSWERING = "answers_question"
"""The field of corrections that counts, if no check is asked for."""

OF_SUPPORT = "supported@"
"""Begins the name of a judge that says whether the passages hold an answer, not whether it answers:
it is compared with others only where it is named."""


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
        # Encoded before they are one array: texts of many answers may not fit into one.
        encoded = pa.chunked_array([column] if isinstance(column, pa.Array) else column.chunks)
        encoded = encoded.dictionary_encode().combine_chunks()
        return cls(encoded.indices.to_numpy().astype(np.int64), encoded.dictionary.to_pylist())


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


def model_names(rows: pa.Table) -> pa.ChunkedArray:
    """Who answered: the adapter, or the model, or an engine without one."""
    return pc.coalesce(*(not_empty(rows[name]) for name in ("adapter", "model", "engine")), "?")


def judges_of(rows: pa.Table) -> dict[Rater, Codes]:
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


def people_of(rows: pa.Table, people: Standing, conversion: Conversion) -> dict[Rater, Codes]:
    if not people.counting:
        return {}
    field = conversion if check_of(conversion) else ANSWERING
    says: dict[Rater, Codes] = {}
    keys = zip(*(rows[name].to_pylist() for name in BY_GENERATION), strict=True)
    for row, key in enumerate(keys):
        for c in people.counting.get(key, {}).get(field, ()):
            rater = Rater("human", c.annotator)
            if rater not in says:
                says[rater] = np.full(rows.num_rows, MISSING, np.int8)
            says[rater][row] = conversions.code_of(c.value, conversion)
    return dict(sorted(says.items()))


def not_empty(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.if_else(pc.equal(column, ""), None, column)
