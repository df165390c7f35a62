"""The wide table: one row per paper, and for every question its answer, stance and missed checks.

A question is identified by its id, or by its text if its records have no id. If a paper has several
records of one question, each further one gets columns of its own: `Q1 (2) answer` and so on. A
record without a paper has a row of its own, under its id. A carried column that has one value in
each paper is a column of the paper; one that has several is a column of each question.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.core.arrow import STRINGS
from pipeline.core.carried import NOTHING, Carry, columns_of
from pipeline.results.export.columns import chosen, headers_of, in_order
from pipeline.results.export.external_sort import FILE_BYTES, Row, SortedFiles, sort_rows
from pipeline.results.export.kinds import Kind
from pipeline.results.export.questions import NO_QUESTION, Survey, headers, unused
from pipeline.results.export.xlsx import MAX_COLUMNS
from pipeline.results.missed_checks import missed_checks
from pipeline.results.papers import paper_keys, paper_name

COLUMNS = (
    "record_id",
    "paper_id",
    "question_id",
    "question",
    "source_uri",
    "source_row",
    "extra",
    "status",
    "stance",
    "answer",
    "checks",
)
"""The columns of the store that the wide table is made from."""

PAPER = "paper_id"
QUESTION_COLUMNS = {"answer": pa.string(), "stance": pa.string(), "checks": STRINGS}
"""The columns of a question. `stance` is `failed` if the answer failed; `checks` are the names of
all checks that it missed, at any level.
"""

TABLE_BYTES = 32 * 2**20

_SORT_KEY = ("paper", "record_id")
_QUESTION = (*_SORT_KEY, "name", "question_id", "question", "source_uri", "source_row", "extra")
_ROW = (*_QUESTION, *QUESTION_COLUMNS)
_BATCH_ROWS = 1000
_CELL_BYTES = 8
_NAME_CHARACTERS = 2000


@dataclass(frozen=True, slots=True)
class Cell:
    """Where the value of a cell comes from: a column of `QUESTION_COLUMNS`, or a carried one with
    its kind.
    """

    name: str
    kind: Kind | None = None

    @property
    def type(self) -> pa.DataType:
        return self.kind.type if self.kind else QUESTION_COLUMNS[self.name]

    def array(self, values: Sequence[Any]) -> pa.Array:
        return self.kind.array(values) if self.kind else pa.array(values, self.type)


@dataclass(frozen=True, slots=True)
class WideTable:
    """The layout of a wide table, and the sorted answers that fill it.

    Its columns are `paper_id`, those of `paper`, then groups of those of `question`. `positions`
    gives, for each question, the first column of each of its groups.
    """

    papers: int
    schema: pa.Schema
    paper: Sequence[Cell]
    question: Sequence[Cell]
    positions: Mapping[str, Sequence[int]]
    answers: SortedFiles

    def tables(self, table_bytes: int = TABLE_BYTES) -> Iterator[pa.Table]:
        """Papers in the order of their ids, in tables of about `table_bytes`."""
        pending: list[list[Any]] = []
        size = 0
        for paper, rows in groupby(self.answers.rows(len(_ROW)), itemgetter(0)):
            pending.append(self._row(paper, rows))
            size += sum(map(_size, pending[-1]))
            if size >= table_bytes:
                yield self._table(pending)
                pending, size = [], 0
        if pending:
            yield self._table(pending)

    @property
    def joined_schema(self) -> pa.Schema:
        return pa.schema(
            [
                f.with_type(pa.string()) if cell and cell.type == STRINGS and not cell.kind else f
                for f, cell in zip(self.schema, self._cells(), strict=True)
            ]
        )

    def joined_tables(self, table_bytes: int = TABLE_BYTES) -> Iterator[pa.Table]:
        """The same with missed checks as one text, for formats without lists."""
        schema = self.joined_schema
        for table in self.tables(table_bytes):
            columns = [
                column if column.type == field.type else pc.binary_join(column, ", ")
                for column, field in zip(table.columns, schema, strict=True)
            ]
            yield pa.table(columns, schema=schema)

    def _cells(self) -> list[Cell | None]:
        groups = sum(map(len, self.positions.values()))
        return [None, *self.paper, *[*self.question] * groups]

    def _row(self, paper: str, rows: Iterable[Row]) -> list[Any]:
        cells: list[Any] = [paper_name(paper), *[None] * (len(self.schema) - 1)]
        seen: Counter[str] = Counter()
        for row in rows:
            values = {**dict(zip(QUESTION_COLUMNS, row[len(_QUESTION) :], strict=True))}
            extra, name = columns_of(row[_EXTRA]), row[_NAME]
            for at, cell in enumerate(self.paper, 1):
                cells[at] = extra.get(cell.name) if cells[at] is None else cells[at]
            start = self.positions[name][seen[name]]
            cells[start : start + len(self.question)] = [
                (extra if cell.kind else values).get(cell.name) for cell in self.question
            ]
            seen[name] += 1
        return cells

    def _table(self, rows: Sequence[Sequence[Any]]) -> pa.Table:
        columns = zip(zip(*rows, strict=True), self._cells(), strict=True)
        arrays = [cell.array(c) if cell else pa.array(c, pa.string()) for c, cell in columns]
        return pa.table(arrays, schema=self.schema)


_NAME, _EXTRA = _QUESTION.index("name"), _QUESTION.index("extra")


def _size(cell: Any) -> int:
    return _CELL_BYTES + (len(cell) if isinstance(cell, (str, list)) else 0)


def widen(
    tables: Iterable[pa.Table],
    folder: str,
    file_bytes: int = FILE_BYTES,
    carry: Carry = NOTHING,
    columns: Sequence[str] = (),
) -> WideTable:
    """The wide table of rows with `COLUMNS`, one per record. It reads from `folder` until written.

    It has all columns, or those named. Needs memory for a table and twice `file_bytes` while it
    sorts the answers into the folder, then for the questions and a 64th of what is in the folder.
    Raises `ConfigError` for an unknown column, and for more columns than a sheet has, in any
    format, since other tools do not open such tables either.
    """
    batches = (b for table in tables for b in table.to_batches(max_chunksize=_BATCH_ROWS))
    answers = sort_rows(map(_sortable, batches), len(_SORT_KEY), folder, file_bytes)
    survey = Survey((MAX_COLUMNS - 1) // len(QUESTION_COLUMNS))
    for _, records in groupby(answers.rows(len(_QUESTION)), itemgetter(0)):
        survey.add_paper(records)
    wanted = _wanted(survey, carry, columns)
    paper = {h: c for h, c in wanted.items() if c.kind and c.name not in survey.varying}
    question = {h: c for h, c in wanted.items() if h not in paper}
    fields, positions = _question_fields(survey, question, 1 + len(paper))
    survey.check_width(1 + len(paper) + len(fields))
    taken = {PAPER, *(f.name for f in fields)}
    own = [pa.field(unused(header, taken), cell.type) for header, cell in paper.items()]
    schema = pa.schema([pa.field(PAPER, pa.string()), *own, *fields])
    return WideTable(
        survey.papers, schema, [*paper.values()], [*question.values()], positions, answers
    )


def _wanted(survey: Survey, carry: Carry, columns: Sequence[str]) -> dict[str, Cell]:
    """The cells that are asked for, by header."""
    kinds = in_order(survey.kinds, carry)
    carried = {
        header: Cell(name, kinds[name])
        for name, header in headers_of(kinds, (PAPER, *QUESTION_COLUMNS)).items()
    }
    known = {**{name: Cell(name) for name in QUESTION_COLUMNS}, **carried}
    names = chosen(columns, (PAPER, *known)) if columns else known
    return {name: known[name] for name in names if name != PAPER}


def _question_fields(
    survey: Survey, question: Mapping[str, Cell], start: int
) -> tuple[list[pa.Field], dict[str, list[int]]]:
    """The columns of all questions, the first of which is number `start`, and where each begins.

    The metadata of a question's first column describes it.
    """
    fields: list[pa.Field] = []
    positions: dict[str, list[int]] = {}
    groups = list(headers(survey.questions))
    taken = {f"{header} {c.name}" for _, header in groups for c in question.values() if not c.kind}
    for name, header in groups:
        positions.setdefault(name, []).append(start + len(fields))
        for number, (column, cell) in enumerate(question.items()):
            full = f"{header} {column}"
            field = pa.field(unused(full, taken) if cell.kind else full, cell.type)
            metadata = None if number else survey.questions[name].described()
            fields.append(field.with_metadata(metadata))
    return fields, positions


def _sortable(batch: pa.RecordBatch) -> pa.RecordBatch:
    record_id, paper_id, question_id, question, uri, row, extra, status, stance, answer, checks = (
        batch.column(name) for name in COLUMNS
    )
    question_id, question = _shortened(question_id), _shortened(question)
    columns = [
        paper_keys(paper_id, record_id),
        record_id,
        pc.coalesce(question_id, question, NO_QUESTION),
        question_id,
        question,
        uri,
        row,
        extra,
        answer,
        pc.if_else(pc.equal(status, "failed"), "failed", stance),
        missed_checks(checks),
    ]
    return pa.RecordBatch.from_arrays(columns, names=list(_ROW))


def _shortened(column: pa.Array) -> pa.Array:
    """The beginning of each text, long enough to tell questions apart; null if it is empty."""
    start = pc.utf8_slice_codeunits(column, 0, _NAME_CHARACTERS)
    return pc.if_else(pc.equal(start, ""), None, start)
