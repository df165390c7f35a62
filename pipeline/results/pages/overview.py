"""What a store answers: its newest answers by paper, and counts of them, in one pass over it.

Counts cover every answer. Cells are those of a fair sample of papers if there are more than fit on
a page: the papers whose hash is a multiple of `share`, which doubles whenever the sample has grown
too large. The sample depends only on the names of the papers.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import repeat
from typing import NamedTuple, Self

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.core.records import FinishReason, Stance, Status, Verdict
from pipeline.results.missed_checks import missed_checks
from pipeline.results.papers import paper_key
from pipeline.results.reading_order import Ranks, Reason
from pipeline.store.reader import key_digest

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
    "answer",
    "answers_question",
    "p_answered",
    "finish_reason",
    "model",
    "extra",
    *TOKENS,
    "run_id",
    "written_at",
)
"""Columns of answers and fields of nested ones, without the texts of prompts."""

_KIND_COLUMNS = ("status", "stance", "answers_question", "finish_reason", "model")

MICROSECONDS = 1_000_000

MAX_CELLS = 200_000
MAX_QUESTIONS = 200
OTHER_QUESTIONS = "…"
"""The column shared by all questions beyond `MAX_QUESTIONS`."""

MAX_NAME_CHARACTERS = 2_000
"""Characters of a question that tell it apart from others."""


EXCERPT_CHARACTERS = 240
"""How much of an answer a row of the table shows: three lines."""


class CellKind(NamedTuple):
    """What many answers have in common; `this_run` if the run that the page is about wrote it."""

    status: Status
    stance: Stance
    missed_checks: tuple[str, ...]
    this_run: bool
    verdict: Verdict | None = None  # `answers_question`
    finish_reason: FinishReason | None = None
    model: str | None = None
    reasons: tuple[Reason, ...] = ()  # to read it


class Cell(NamedTuple):
    record_id: str
    question: str
    kind: CellKind
    words: int = 0
    p_answered: float | None = None
    excerpt: str = ""
    extra: str | None = None  # carried columns, as JSON


@dataclass(slots=True)
class AnswerCounts:
    """Answers to one question, or of one model."""

    answers: int = 0
    failed: int = 0
    states: Counter[Stance | Status] = field(default_factory=Counter)  # stances, or `failed`
    at_limit: int = 0  # finish reason `length`

    def add(self, kind: CellKind) -> None:
        self.answers += 1
        self.failed += kind.status == "failed"
        self.states["failed" if kind.status == "failed" else kind.stance] += 1
        self.at_limit += kind.finish_reason == "length"


@dataclass(slots=True)
class Usage:
    """Records stored within a period of time, and their tokens."""

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
class Overview:
    """The newest answers of a store; attempts and usage are those of one run only."""

    run_id: str
    max_cells: int = MAX_CELLS
    papers: dict[str, list[Cell]] = field(default_factory=dict)  # in the sample, by key
    questions: dict[str, str] = field(default_factory=dict)  # text by name
    share: int = 1  # the sample has one paper in this many
    cells: int = 0

    answers: int = 0
    words: Counter[tuple[Status, int]] = field(default_factory=Counter)
    failures: Counter[tuple[str, str]] = field(default_factory=Counter)  # by question and check
    by_question: defaultdict[str, AnswerCounts] = field(
        default_factory=lambda: defaultdict(AnswerCounts)
    )
    by_model: defaultdict[str, AnswerCounts] = field(
        default_factory=lambda: defaultdict(AnswerCounts)
    )
    abstaining: dict[str, int] = field(default_factory=dict)  # answers of papers that all abstain
    attempts: Counter[int] = field(default_factory=Counter)
    usage: defaultdict[int, Usage] = field(default_factory=lambda: defaultdict(Usage))  # by second

    def add(self, rows: pa.Table, ranks: Ranks | None = None) -> None:
        """Counts rows with `COLUMNS` and adds their cells; `ranks` say why to read them."""
        missed = map(tuple, missed_checks(rows["checks"].combine_chunks()).to_pylist())
        mine = pc.equal(rows["run_id"], self.run_id)
        reasons = ranks.all_reasons() if ranks else repeat(())
        common = [rows[name].to_pylist() for name in _KIND_COLUMNS]
        kinds = map(CellKind, *common[:2], missed, mine.to_pylist(), *common[2:], reasons)
        names = ("record_id", "paper_id", "question_id", "question", "word_count", "p_answered")
        cells = (rows[name].to_pylist() for name in names)
        excerpts = pc.utf8_slice_codeunits(rows["answer"], 0, EXCERPT_CHARACTERS).to_pylist()
        failed = rows["failed_checks"].to_pylist()
        self.answers += rows.num_rows
        for record_id, paper, id_, text, words, p, kind, checks, excerpt, extra in zip(
            *cells, kinds, failed, excerpts, rows["extra"].to_pylist(), strict=True
        ):
            question = self._column(question_name(id_, text), text or "")
            self.words[kind.status, words] += 1
            self.failures.update((question, check) for check in checks)
            self.by_question[question].add(kind)
            self.by_model[kind.model or ""].add(kind)
            key = paper_key(paper, record_id)
            self.count_abstention(key, kind)
            self._add_cell(key, Cell(record_id, question, kind, words, p, excerpt or "", extra))
        self._add_usage(rows.filter(mine))

    def count_abstention(self, paper: str, kind: CellKind) -> None:
        """A paper with any other answer counts -1."""
        before = self.abstaining.get(paper, 0)
        abstains = kind.stance == "abstained" and before >= 0
        self.abstaining[paper] = before + 1 if abstains else -1

    def _column(self, name: str, text: str) -> str:
        if name not in self.questions:
            if len(self.questions) >= MAX_QUESTIONS:
                name, text = OTHER_QUESTIONS, ""
            self.questions[name] = text
        return name

    def _add_cell(self, paper: str, cell: Cell) -> None:
        if not in_sample(paper, self.share):
            return
        self.papers.setdefault(paper, []).append(cell)
        self.cells += 1
        while self.cells > self.max_cells and len(self.papers) > 1:
            self.share *= 2
            self.papers = {p: c for p, c in self.papers.items() if in_sample(p, self.share)}
            self.cells = sum(map(len, self.papers.values()))

    def _add_usage(self, rows: pa.Table) -> None:
        self.attempts.update(pc.list_value_length(rows["attempts"]).to_pylist())
        seconds = pc.divide(rows["written_at"].cast(pa.int64()), MICROSECONDS).to_pylist()
        tokens = (rows[name].to_pylist() for name in TOKENS)
        for second, prompt, cached, completion in zip(seconds, *tokens, strict=True):
            self.usage[second].add(Usage(1, prompt, cached, completion))


def build_overview(tables: Iterable[pa.Table], run_id: str, max_cells: int = MAX_CELLS) -> Overview:
    """The overview of tables with `COLUMNS`, one row per record."""
    overview = Overview(run_id, max_cells)
    for rows in tables:
        overview.add(rows)
    return overview


def question_name(question_id: str | None, question: str | None) -> str:
    """What identifies a question: its id, or else its text, or else the empty string."""
    return (question_id or question or "")[:MAX_NAME_CHARACTERS]


def in_sample(paper: str, share: int) -> bool:
    """Whether a fair sample of one paper in `share`, a power of two, includes the paper."""
    return stable_hash(paper) % share == 0


def stable_hash(name: str) -> int:
    """A 64-bit hash that is the same on every machine; sampling by it is fair and repeatable."""
    return int.from_bytes(key_digest(name.encode())[:8], "big")
