"""Paper by question: one row a paper, and for every question what its records were answered.

A question is known by its id, or by its text where records have no id for it. Where a paper has
several records of one question, the second has columns of its own, `Q1 (2) answer`, and so on.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count, groupby
from operator import itemgetter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.core.arrow import STRINGS
from pipeline.core.errors import ConfigError
from pipeline.core.text import natural
from pipeline.results.export.external_sort import RUN_BYTES, Row, Runs, sort_rows
from pipeline.results.export.xlsx import MOST_COLUMNS

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
"""Of the store: what the wide form is made of."""

GROUP = {"answer": pa.string(), "stance": pa.string(), "checks": STRINGS}
"""The columns of a question: the answer; `failed`, or else the stance; the names of all checks that
it missed, whatever their level.
"""

NO_QUESTION = "(no question)"
"""Where a record has neither an id nor a text for its question."""

TABLE_BYTES = 32 * 2**20

_ORDER = ("paper", "record_id")
_ASKED = (*_ORDER, "name", "question_id", "question")
_ROW = (*_ASKED, *GROUP)
_BATCH_ROWS = 1000
_CELL_BYTES = 8
_NAME_CHARACTERS, _HEADER_CHARACTERS = 2000, 200


@dataclass(frozen=True, slots=True)
class Wide:
    """A wide table before it is made: how many papers, its columns, and the sorted answers.

    `places` says where the groups of a question begin.
    """

    papers: int
    schema: pa.Schema
    places: Mapping[str, Sequence[int]]
    answers: Runs

    def tables(self, table_bytes: int = TABLE_BYTES) -> Iterator[pa.Table]:
        """Papers in the order of their ids; holds about `table_bytes` of them."""
        pile: list[list[Any]] = []
        size = 0
        for paper, rows in groupby(self.answers.rows(len(_ROW)), itemgetter(0)):
            pile.append(self._row(paper, rows))
            size += sum(len(cell) for cell in pile[-1] if cell) + _CELL_BYTES * len(pile[-1])
            if size >= table_bytes:
                yield self._table(pile)
                pile, size = [], 0
        if pile:
            yield self._table(pile)

    def _row(self, paper: str, rows: Iterable[Row]) -> list[Any]:
        cells: list[Any] = [paper, *[None] * (len(self.schema) - 1)]
        met: Counter[str] = Counter()
        for _, _, name, _, _, *group in rows:
            start = self.places[name][met[name]]
            cells[start : start + len(GROUP)] = group
            met[name] += 1
        return cells

    def _table(self, rows: Sequence[Sequence[Any]]) -> pa.Table:
        columns = zip(zip(*rows, strict=True), self.schema, strict=True)
        return pa.table([pa.array(c, f.type) for c, f in columns], schema=self.schema)


@dataclass(slots=True)
class _Question:
    """A question over all papers: most records of it in one, and its text or the first of them."""

    question_id: str | None
    text: str | None
    most: int = 0
    varies: bool = False

    def meet(self, text: str | None) -> None:
        if text is not None and text != self.text:
            self.varies = self.text is not None
            self.text = min(text, self.text or text)


def widen(tables: Iterable[pa.Table], folder: str, run_bytes: int = RUN_BYTES) -> Wide:
    """The wide form of rows with `COLUMNS`, one a record; needs `folder` until it is written.

    Holds a table and twice `run_bytes` while it sorts the answers into the folder, then the
    questions and a 64th of what lies there. Raises `ConfigError` for more columns than a sheet has,
    which other tools do not open either.
    """
    batches = (b for table in tables for b in table.to_batches(max_chunksize=_BATCH_ROWS))
    answers = sort_rows(map(_cells, batches), len(_ORDER), folder, run_bytes)
    papers, questions = _survey(answers.rows(len(_ASKED)))
    fields = [pa.field("paper_id", pa.string())]
    places: dict[str, list[int]] = {}
    for name, header in _headers(questions):
        places.setdefault(name, []).append(len(fields))
        fields += _group(header, questions[name])
    return Wide(papers, pa.schema(fields), places, answers)


def joined(table: pa.Table) -> pa.Table:
    """Lists as one text each, for who has no lists."""
    return pa.table(
        [pc.binary_join(c, ", ") if pa.types.is_list(c.type) else c for c in table.columns],
        schema=joined_schema(table.schema),
    )


def joined_schema(schema: pa.Schema) -> pa.Schema:
    return pa.schema([f.with_type(pa.string()) for f in schema])


def _cells(batch: pa.RecordBatch) -> pa.RecordBatch:
    record_id, paper_id, question_id, question, status, stance, answer, checks = (
        batch.column(name) for name in COLUMNS
    )
    question_id, question = _said(question_id), _said(question)
    columns = [
        pc.coalesce(paper_id, record_id),
        record_id,
        pc.coalesce(question_id, question, NO_QUESTION),
        question_id,
        question,
        answer,
        pc.if_else(pc.equal(status, "failed"), "failed", stance),
        _missed(checks),
    ]
    return pa.RecordBatch.from_arrays(columns, names=list(_ROW))


def _said(column: pa.Array) -> pa.Array:
    """As much of a text as tells it from others; null where there is none."""
    start = pc.utf8_slice_codeunits(column, 0, _NAME_CHARACTERS)
    return pc.if_else(pc.equal(start, ""), None, start)


def _missed(checks: pa.ListArray) -> pa.ListArray:
    results = pc.list_flatten(checks)
    missed = pc.invert(pc.struct_field(results, "passed"))
    names = pc.struct_field(results, "name").filter(missed)
    rows = pc.list_parent_indices(checks).filter(missed).to_numpy(zero_copy_only=False)
    sizes = np.bincount(rows, minlength=len(checks))
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), names)


def _survey(rows: Iterable[Row]) -> tuple[int, dict[str, _Question]]:
    """How many papers there are, and what they were asked."""
    papers, groups = 0, 0
    questions: dict[str, _Question] = {}
    for _, records in groupby(rows, itemgetter(0)):
        papers += 1
        met: Counter[str] = Counter()
        for *_, name, question_id, text in records:
            question = questions.setdefault(name, _Question(question_id, text))
            question.meet(text)
            met[name] += 1
            if met[name] > question.most:
                question.most += 1
                groups += 1
                _must_fit(groups)
    return papers, questions


def _must_fit(groups: int) -> None:
    if 1 + groups * len(GROUP) > MOST_COLUMNS:
        raise ConfigError(
            f"--wide: more than {(MOST_COLUMNS - 1) // len(GROUP):,} questions, which no table has"
            " columns for; give records a question_id that papers share, or export without --wide"
        )


def _headers(questions: Mapping[str, _Question]) -> Iterator[tuple[str, str]]:
    """Names of questions with the header of each of their groups, in order; no header comes twice.

    Later groups give way to other questions' names: `Q1 (2)` may be one.
    """
    names = sorted(questions, key=lambda name: (name == NO_QUESTION, natural(name)))
    taken: set[str] = set()
    first = {name: _unused(_short(name), taken) for name in names}
    for name in names:
        yield name, first[name]
        for nth in range(2, questions[name].most + 1):
            yield name, _unused(f"{first[name]} ({nth})", taken)


def _unused(wanted: str, taken: set[str]) -> str:
    wishes = chain([wanted], (f"{wanted} ({n})" for n in count(2)))
    header = next(wish for wish in wishes if wish not in taken)
    taken.add(header)
    return header


def _short(name: str) -> str:
    return name if len(name) <= _HEADER_CHARACTERS else name[: _HEADER_CHARACTERS - 1] + "…"


def _group(header: str, question: _Question) -> list[pa.Field]:
    """A question's columns; the first one tells of it in its metadata."""
    about = {
        "question_id": question.question_id or "",
        "question": question.text or "",
        "wording": "several" if question.varies else "one",
    }
    fields = [pa.field(f"{header} {column}", type_) for column, type_ in GROUP.items()]
    return [fields[0].with_metadata(about), *fields[1:]]
