"""Papers by questions: the newest answer of every record, in one pass over the store.

What is counted is counted over every answer. The cells are those of a fair sample of the papers
where there are more than a page can hold: of the papers whose digest is small enough, where "small
enough" is halved whenever the sample has grown too large. Which papers those are depends on their
names alone.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.core.records import Stance, Status
from pipeline.store.reader_rule import digest

TOKENS = ("prompt_tokens", "cached_tokens", "completion_tokens")
COLUMNS = (
    "record_id",
    "paper_id",
    "question_id",
    "question",
    "status",
    "stance",
    "checks.list.element.name",
    "checks.list.element.passed",
    "failed_checks",
    "attempts.list.element.seconds",
    "word_count",
    *TOKENS,
    "run_id",
    "written_at",
)
"""Columns of answers, and pieces of them: no text of a prompt or an answer."""

MICROS = 1_000_000

MOST_CELLS = 200_000
MOST_QUESTIONS = 200
OTHERS = "…"
"""The column of the questions beyond the most that the page tells apart."""

MOST_LETTERS = 2_000
"""Of a question's name; it is told from others by them."""


class Kind(NamedTuple):
    """What a cell shows; `mine` where the run that the page is about has written the answer."""

    status: Status
    stance: Stance
    missed: tuple[str, ...]
    mine: bool


class Cell(NamedTuple):
    record_id: str
    question: str
    kind: Kind


@dataclass(slots=True)
class Spent:
    """What was stored in one second: records and their tokens."""

    records: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0

    def add(self, other: Self) -> None:
        self.records += other.records
        self.prompt_tokens += other.prompt_tokens
        self.cached_tokens += other.cached_tokens
        self.completion_tokens += other.completion_tokens


@dataclass(slots=True)
class Matrix:
    """The newest answers of a store, seen from one run."""

    run_id: str
    most_cells: int = MOST_CELLS
    papers: dict[str, list[Cell]] = field(default_factory=dict)  # of the sample
    questions: dict[str, str] = field(default_factory=dict)  # id → text
    share: int = 1  # one paper of so many is in the sample
    cells: int = 0

    answers: int = 0
    kinds: Counter[tuple[Status, Stance]] = field(default_factory=Counter)
    words: Counter[tuple[Status, int]] = field(default_factory=Counter)
    failures: Counter[tuple[str, str]] = field(default_factory=Counter)  # by question and check
    attempts: Counter[int] = field(default_factory=Counter)  # of this run's answers
    spent: defaultdict[int, Spent] = field(default_factory=lambda: defaultdict(Spent))

    def add(self, rows: pa.Table) -> None:
        """Counts rows of `COLUMNS` and places them in the matrix."""
        names = ("record_id", "paper_id", "question_id", "question", "status", "stance")
        columns = (
            rows[name].to_pylist() for name in (*names, "word_count", "failed_checks", "run_id")
        )
        missed = _missed(rows)
        self.answers += rows.num_rows
        for row, (record_id, paper, asked, text, status, stance, words, failed, run) in enumerate(
            zip(*columns, strict=True)
        ):
            question = self._column(asked_of(asked, text), text or "")
            kind = Kind(status, stance, missed.get(row, ()), run == self.run_id)
            self.kinds[status, stance] += 1
            self.words[status, words] += 1
            self.failures.update((question, check) for check in failed)
            self._place(paper or record_id, Cell(record_id, question, kind))
        self._spend(rows.filter(pc.equal(rows["run_id"], self.run_id)))

    def _column(self, asked: str, text: str) -> str:
        if asked not in self.questions:
            if len(self.questions) >= MOST_QUESTIONS:
                asked, text = OTHERS, ""
            self.questions[asked] = text
        return asked

    def _place(self, paper: str, cell: Cell) -> None:
        if not in_sample(paper, self.share):
            return
        self.papers.setdefault(paper, []).append(cell)
        self.cells += 1
        while self.cells > self.most_cells and len(self.papers) > 1:
            self.share *= 2
            self.papers = {p: c for p, c in self.papers.items() if in_sample(p, self.share)}
            self.cells = sum(map(len, self.papers.values()))

    def _spend(self, mine: pa.Table) -> None:
        tried = pc.list_value_length(mine["attempts"]).to_pylist()
        self.attempts.update(tried)
        seconds = pc.divide(mine["written_at"].cast(pa.int64()), MICROS).to_pylist()
        tokens = (mine[name].to_pylist() for name in TOKENS)
        for second, prompt, cached, completion in zip(seconds, *tokens, strict=True):
            self.spent[second].add(Spent(1, prompt, cached, completion))


def gathered(tables: Iterable[pa.Table], run_id: str, most_cells: int = MOST_CELLS) -> Matrix:
    """The matrix of tables of `COLUMNS`, one row a record."""
    matrix = Matrix(run_id, most_cells)
    for rows in tables:
        matrix.add(rows)
    return matrix


def asked_of(question_id: str | None, question: str | None) -> str:
    """What a question is known by: its id, else its text, else nothing."""
    return (question_id or question or "")[:MOST_LETTERS]


def in_sample(paper: str, share: int) -> bool:
    """Whether a paper is one of the one in `share`, a power of two, that a fair sample takes."""
    return draw(paper) % share == 0


def draw(name: str) -> int:
    """A number for a name, as good as drawn by lot and the same on every machine."""
    return int.from_bytes(digest(name.encode())[:8], "big")


def _missed(rows: pa.Table) -> dict[int, tuple[str, ...]]:
    """Checks that were not passed, by number of row."""
    checks = rows["checks"].combine_chunks()
    flat, offsets = (
        checks.flatten(),
        np.cumsum([0, *pc.fill_null(checks.value_lengths(), 0).to_pylist()]),
    )
    failed = np.flatnonzero(~np.asarray(flat.field("passed").to_numpy(zero_copy_only=False), bool))
    names = flat.field("name").take(pa.array(failed)).to_pylist()
    found: dict[int, tuple[str, ...]] = {}
    for row, name in zip(np.searchsorted(offsets, failed, "right") - 1, names, strict=True):
        found[int(row)] = (*found.get(int(row), ()), name)
    return found
