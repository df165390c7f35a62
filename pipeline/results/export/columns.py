"""The columns of an export: the user's own first, then question, answer, status, the fields of a
document, then the rest; and what people say beside each.

A carried column that is named like a column of ours, or of what people say, has the name by which
templates know it: `extra.status`. The top fields of documents are `fields.<name>`, typed as carried
columns are.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any, Self

import orjson
import pyarrow as pa

from pipeline.core.carried import Carry, as_json, columns_of
from pipeline.core.errors import ConfigError, StorageError, nearest
from pipeline.core.text import harmless
from pipeline.results.export.kinds import NULL, Kind, common, kind_of
from pipeline.results.export.people import PEOPLE, side_by_side
from pipeline.store.schema import ANSWERS

FIRST = ("question", "answer", "status")
SPREAD = ("extra", "fields")
"""Columns of answers that hold JSON, whose entries stand in their place."""

REST = tuple(name for name in ANSWERS.names if name not in (*FIRST, *SPREAD))

OURS = (*FIRST, *REST)

OF_DOCUMENT = "fields."

_MEANWHILE = "a run has stored other carried columns since the export began; export again"


def carried_kinds(
    tables: Iterable[pa.Table], carry: Carry, human: Set[str] = frozenset()
) -> dict[str, Kind]:
    """The kinds of the carried columns, of documents' fields and of the columns `human`, of rows
    with `SPREAD`.
    """
    met = dict.fromkeys(sorted(human), Kind("text"))
    for rows in tables:
        for entries in _entries(rows, human):
            for name, value in entries.items():
                met[name] = common(met.get(name, NULL), kind_of(value))
    return in_order(met, carry)


def _entries(rows: pa.Table, human: Set[str]) -> Iterator[dict[str, Any]]:
    """Each row's carried columns, fields, and what people say, by names that are all different."""
    said = rows[PEOPLE].to_pylist() if human else repeat(None, rows.num_rows)
    spread = (rows[name].to_pylist() for name in SPREAD)
    for extra, fields, people in zip(*spread, said, strict=True):
        own = columns_of(extra)
        if any(name.startswith(OF_DOCUMENT) or name in human for name in own):
            own = {
                f"extra.{n}" if n.startswith(OF_DOCUMENT) or n in human else n: v
                for n, v in own.items()
            }
        document = orjson.loads(fields) if fields else {}
        document = document if isinstance(document, dict) else {"value": document}
        yield {
            **own,
            **{f"{OF_DOCUMENT}{name}": value for name, value in document.items()},
            **columns_of(people),
        }


def in_order(kinds: Mapping[str, Kind], carry: Carry) -> dict[str, Kind]:
    """Carried columns by name: those that the job names in its order, then others as they came."""
    named = [name for name in (() if carry == "all" else carry) if name in kinds]
    return {name: kinds[name] for name in (*named, *kinds)}


def headers_of(names: Iterable[str], ours: Iterable[str]) -> dict[str, str]:
    """The header of each carried column, all different and none of them one of ours."""
    names, taken = list(names), {*ours}
    headers = {name: name for name in names if name not in taken}
    taken |= {*headers}
    for name in names:
        if name not in headers:
            header = f"extra.{name}"
            while header in taken:
                header = f"extra.{header}"
            taken.add(headers.setdefault(name, header))
    return {name: headers[name] for name in names}


def chosen(columns: Sequence[str], known: Iterable[str]) -> list[str]:
    """The columns that `--columns` names, each once; raises `ConfigError` for an unknown one."""
    known = list(known)
    for name in columns:
        if name not in known:
            near = nearest(name, map(harmless, known))  # whose names are of the input
            raise ConfigError(f"--columns {harmless(name)}: no such column{near}")
    return list(dict.fromkeys(columns))


@dataclass(frozen=True, slots=True)
class Added:
    """A column that the store does not hold: what it is made of, from rows with the columns
    `needs`.
    """

    type: pa.DataType
    needs: Sequence[str]
    of: Callable[[pa.Table], pa.Array]


NONE_ADDED: Mapping[str, Added] = {}


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of a table with one row per record, by their headers.

    `carried` gives the names and kinds of those among them that are carried ones, `added` those
    that are made here; they stand last.
    """

    columns: tuple[str, ...]
    carried: Mapping[str, tuple[str, Kind]]
    met: frozenset[str]  # all carried columns
    human: Set[str] = frozenset()  # those among them that people fill
    added: Mapping[str, Added] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        kinds: Mapping[str, Kind],
        columns: Sequence[str] = (),
        human: Set[str] = frozenset(),
        added: Mapping[str, Added] = NONE_ADDED,
    ) -> Self:
        """All columns, or those named. Raises `ConfigError` for an unknown one."""
        headers = headers_of(kinds, (*ANSWERS.names, *added))
        carried = {header: (name, kinds[name]) for name, header in headers.items()}
        of_document = [name for name in carried if name.startswith(OF_DOCUMENT)]
        own = [name for name in carried if name not in of_document and name not in human]
        known = side_by_side((*own, *FIRST, *of_document, *REST, *added), human)
        names = chosen(columns, (*known, *SPREAD)) if columns else known
        wanted = {header: carried[header] for header in names if header in carried}
        made = {header: added[header] for header in names if header in added}
        return cls(tuple(names), wanted, frozenset(kinds), human, made)

    @property
    def stored(self) -> list[str]:
        """The columns of the store that are read for it."""
        ours = [n for n in self.columns if n not in self.carried and n not in self.added]
        needed = [name for added in self.added.values() for name in added.needs]
        return list(dict.fromkeys([*ours, *needed, *(SPREAD if self.carried else ())]))

    @property
    def schema(self) -> pa.Schema:
        return pa.schema([self._field(header) for header in self.columns])

    def _field(self, header: str) -> pa.Field:
        if header in self.carried:
            return pa.field(header, self.carried[header][1].type)
        if header in self.added:
            return pa.field(header, self.added[header].type)
        return ANSWERS.field(header)

    def table(self, rows: pa.Table) -> pa.Table:
        """Rows with the `stored` columns under this layout.

        Raises `StorageError` if a run has stored another kind of value since the kinds were told.
        """
        extras = self._extras(rows)
        arrays = [
            self._array(header, extras) if header in self.carried else self._ours(header, rows)
            for header in self.columns
        ]
        return pa.table(arrays, schema=self.schema)

    def json_table(self, rows: pa.Table) -> pa.Table:
        """The same with each value of a carried column as JSON."""
        extras = self._extras(rows)
        arrays = {
            header: [as_json(extra.get(self.carried[header][0])) for extra in extras]
            if header in self.carried
            else self._ours(header, rows)
            for header in self.columns
        }
        return pa.table(arrays)

    def _ours(self, header: str, rows: pa.Table) -> pa.Array | pa.ChunkedArray:
        return self.added[header].of(rows) if header in self.added else rows[header]

    def _extras(self, rows: pa.Table) -> list[dict[str, Any]]:
        extras = list(_entries(rows, self.human)) if self.carried else []
        if new := set[str]().union(*extras) - self.met:
            raise StorageError(f"{harmless(', '.join(sorted(new)))}: {_MEANWHILE}")
        return extras

    def _array(self, header: str, extras: Sequence[Mapping[str, Any]]) -> pa.Array:
        name, kind = self.carried[header]
        try:
            return kind.array([extra.get(name) for extra in extras])
        except pa.ArrowException as error:
            raise StorageError(f"{harmless(header)}: {_MEANWHILE}") from error
