"""The wide table: one row per paper, and for every question its answer, stance and missed checks.

A question is identified by its id, or by its text if its records have no id. If a paper has several
records of one question, each further one gets columns of its own: `Q1 (2) answer` and so on. A
record without a paper has a row of its own, under its id.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count, groupby
from operator import itemgetter
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.core.arrow import STRINGS
from pipeline.core.errors import ConfigError
from pipeline.core.text import natural
from pipeline.results.export.external_sort import FILE_BYTES, Row, SortedFiles, sort_rows
from pipeline.results.export.xlsx import MAX_COLUMNS
from pipeline.results.missed_checks import missed_checks
from pipeline.results.papers import paper_keys, paper_name

COLUMNS = (
    "record_id",
    "paper_id",
    "question_id",
    "question",
    "status",
    "stance",
    "answer",
    "checks",
)
"""The columns of the store that the wide table is made from."""

QUESTION_COLUMNS = {"answer": pa.string(), "stance": pa.string(), "checks": STRINGS}
"""The columns of a question. `stance` is `failed` if the answer failed; `checks` are the names of
all checks that it missed, at any level.
"""

NO_QUESTION = "(no question)"
"""Stands for the question of records that have neither its id nor its text."""

TABLE_BYTES = 32 * 2**20

_SORT_KEY = ("paper", "record_id")
_QUESTION = (*_SORT_KEY, "name", "question_id", "question")
_ROW = (*_QUESTION, *QUESTION_COLUMNS)
_BATCH_ROWS = 1000
_CELL_BYTES = 8
_NAME_CHARACTERS, _HEADER_CHARACTERS = 2000, 200


@dataclass(frozen=True, slots=True)
class WideTable:
    """The layout of a wide table, and the sorted answers that fill it.

    `positions` gives, for each question, the first column of each of its groups of columns.
    """

    papers: int
    schema: pa.Schema
    positions: Mapping[str, Sequence[int]]
    answers: SortedFiles

    def tables(self, table_bytes: int = TABLE_BYTES) -> Iterator[pa.Table]:
        """Papers in the order of their ids, in tables of about `table_bytes`."""
        pending: list[list[Any]] = []
        size = 0
        for paper, rows in groupby(self.answers.rows(len(_ROW)), itemgetter(0)):
            pending.append(self._row(paper, rows))
            size += sum(len(cell) for cell in pending[-1] if cell) + _CELL_BYTES * len(pending[-1])
            if size >= table_bytes:
                yield self._table(pending)
                pending, size = [], 0
        if pending:
            yield self._table(pending)

    def _row(self, paper: str, rows: Iterable[Row]) -> list[Any]:
        cells: list[Any] = [paper_name(paper), *[None] * (len(self.schema) - 1)]
        seen: Counter[str] = Counter()
        for _, _, name, _, _, *values in rows:
            start = self.positions[name][seen[name]]
            cells[start : start + len(QUESTION_COLUMNS)] = values
            seen[name] += 1
        return cells

    def _table(self, rows: Sequence[Sequence[Any]]) -> pa.Table:
        columns = zip(zip(*rows, strict=True), self.schema, strict=True)
        return pa.table([pa.array(c, f.type) for c, f in columns], schema=self.schema)


@dataclass(slots=True)
class _Question:
    """A question in all papers: its text, or the first in order of several, and the most records
    that one paper has of it.
    """

    question_id: str | None
    text: str | None
    max_records: int = 0
    varies: bool = False

    def add_text(self, text: str | None) -> None:
        if text is not None and text != self.text:
            self.varies = self.text is not None
            self.text = min(text, self.text or text)


def widen(tables: Iterable[pa.Table], folder: str, file_bytes: int = FILE_BYTES) -> WideTable:
    """The wide table of rows with `COLUMNS`, one per record. It reads from `folder` until written.

    Needs memory for a table and twice `file_bytes` while it sorts the answers into the folder,
    then for the questions and a 64th of what is in the folder. Raises `ConfigError` for more
    columns than a sheet has, in any format, since other tools do not open such tables either.
    """
    batches = (b for table in tables for b in table.to_batches(max_chunksize=_BATCH_ROWS))
    answers = sort_rows(map(_sortable, batches), len(_SORT_KEY), folder, file_bytes)
    papers, questions = _count_questions(answers.rows(len(_QUESTION)))
    fields = [pa.field("paper_id", pa.string())]
    positions: dict[str, list[int]] = {}
    for name, header in _headers(questions):
        positions.setdefault(name, []).append(len(fields))
        fields += _fields(header, questions[name])
    return WideTable(papers, pa.schema(fields), positions, answers)


def joined(table: pa.Table) -> pa.Table:
    """The table with each list as one text, for formats without lists."""
    return pa.table(
        [pc.binary_join(c, ", ") if pa.types.is_list(c.type) else c for c in table.columns],
        schema=joined_schema(table.schema),
    )


def joined_schema(schema: pa.Schema) -> pa.Schema:
    return pa.schema([f.with_type(pa.string()) for f in schema])


def _sortable(batch: pa.RecordBatch) -> pa.RecordBatch:
    record_id, paper_id, question_id, question, status, stance, answer, checks = (
        batch.column(name) for name in COLUMNS
    )
    question_id, question = _shortened(question_id), _shortened(question)
    columns = [
        paper_keys(paper_id, record_id),
        record_id,
        pc.coalesce(question_id, question, NO_QUESTION),
        question_id,
        question,
        answer,
        pc.if_else(pc.equal(status, "failed"), "failed", stance),
        missed_checks(checks),
    ]
    return pa.RecordBatch.from_arrays(columns, names=list(_ROW))


def _shortened(column: pa.Array) -> pa.Array:
    """The beginning of each text, long enough to tell questions apart; null if it is empty."""
    start = pc.utf8_slice_codeunits(column, 0, _NAME_CHARACTERS)
    return pc.if_else(pc.equal(start, ""), None, start)


def _count_questions(rows: Iterable[Row]) -> tuple[int, dict[str, _Question]]:
    """The number of papers, and their questions by name."""
    papers, groups = 0, 0
    questions: dict[str, _Question] = {}
    for _, records in groupby(rows, itemgetter(0)):
        papers += 1
        seen: Counter[str] = Counter()
        for *_, name, question_id, text in records:
            question = questions.setdefault(name, _Question(question_id, text))
            question.add_text(text)
            seen[name] += 1
            if seen[name] > question.max_records:
                question.max_records += 1
                groups += 1
                _check_column_limit(groups)
    return papers, questions


def _check_column_limit(groups: int) -> None:
    if 1 + groups * len(QUESTION_COLUMNS) > MAX_COLUMNS:
        raise ConfigError(
            f"--wide: more than {(MAX_COLUMNS - 1) // len(QUESTION_COLUMNS):,} questions need more"
            " columns than a table can have; give records a question_id that papers share, or"
            " export without --wide"
        )


def _headers(questions: Mapping[str, _Question]) -> Iterator[tuple[str, str]]:
    """Names of questions, each with the header of one of its groups, in column order.

    Headers are unique. If a paper has a second record of `Q1` and another question is itself named
    `Q1 (2)`, that question keeps its name.
    """
    names = sorted(questions, key=lambda name: (name == NO_QUESTION, natural(name)))
    taken: set[str] = set()
    first = {name: _unused(_header(name), taken) for name in names}
    for name in names:
        yield name, first[name]
        for nth in range(2, questions[name].max_records + 1):
            yield name, _unused(f"{first[name]} ({nth})", taken)


def _unused(header: str, taken: set[str]) -> str:
    candidates = chain([header], (f"{header} ({n})" for n in count(2)))
    unused = next(candidate for candidate in candidates if candidate not in taken)
    taken.add(unused)
    return unused


def _header(name: str) -> str:
    return name if len(name) <= _HEADER_CHARACTERS else name[: _HEADER_CHARACTERS - 1] + "…"


def _fields(header: str, question: _Question) -> list[pa.Field]:
    """A question's columns. The metadata of the first one describes the question."""
    metadata = {
        "question_id": question.question_id or "",
        "question": question.text or "",
        "wording": "several" if question.varies else "one",
    }
    fields = [pa.field(f"{header} {column}", type_) for column, type_ in QUESTION_COLUMNS.items()]
    return [fields[0].with_metadata(metadata), *fields[1:]]
