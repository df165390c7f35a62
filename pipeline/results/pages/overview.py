"""What a store answers: its newest answers by paper, and counts of them, in one pass over it.

Counts cover every answer. Cells are those of a fair sample of papers if there are more than fit on
a page; see `PaperSample`.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.core.records import FinishReason, Stance, Status
from pipeline.results.missed_checks import missed_checks
from pipeline.results.pages.paper_sample import EXCERPT_CHARACTERS, MAX_CELLS, Cell, PaperSample
from pipeline.results.papers import paper_keys
from pipeline.results.reading_order import Ranks

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

_OF_PAPER = ("paper_id", "record_id")
_OF_QUESTION = ("question_id", "question")

MICROSECONDS = 1_000_000

MAX_QUESTIONS = 200
OTHER_QUESTIONS = "…"
"""The column shared by all questions beyond `MAX_QUESTIONS`."""

MAX_NAME_CHARACTERS = 2_000
"""Characters of a question that tell it apart from others."""


@dataclass(slots=True)
class AnswerCounts:
    """Answers to one question, or of one model."""

    answers: int = 0
    failed: int = 0
    states: Counter[Stance | Status] = field(default_factory=Counter)  # stances, or `failed`
    at_limit: int = 0  # finish reason `length`

    def add(
        self, status: Status, stance: Stance, finish_reason: FinishReason | None, answers: int
    ) -> None:
        self.answers += answers
        self.failed += answers * (status == "failed")
        self.states["failed" if status == "failed" else stance] += answers
        self.at_limit += answers * (finish_reason == "length")


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


@dataclass
class Overview:
    """The newest answers of a store; attempts and usage are those of one run only."""

    run_id: str
    sample: PaperSample = field(default_factory=PaperSample)
    questions: dict[str, str] = field(default_factory=dict)  # text by name

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

    @cached_property
    def papers(self) -> dict[str, list[Cell]]:
        """The cells of papers in the sample, by key, once all rows are added."""
        return self.sample.papers()

    def add(self, rows: pa.Table, ranks: Ranks | None = None) -> None:
        """Counts rows with `COLUMNS` and adds their cells; `ranks` say why to read them."""
        mine = pc.equal(rows["run_id"], self.run_id)
        sets = ranks.sets() if ranks else np.zeros(rows.num_rows, np.int64)
        more = {
            "paper": paper_keys(*(rows[name].combine_chunks() for name in _OF_PAPER)),
            "column": self._columns(rows),
            "missed_checks": missed_checks(rows["checks"].combine_chunks()),
            "this_run": mine,
            "reasons": pa.array(sets),
            "excerpt": _excerpts(rows["answer"]),
        }
        for name, values in more.items():
            rows = rows.append_column(name, values)
        self.answers += rows.num_rows
        for status, words, answers in _counted(rows, "status", "word_count"):
            self.words[status, words] += answers
        kinds = ("column", "model", "status", "stance", "finish_reason")
        for question, model, status, stance, reason, answers in _counted(rows, *kinds):
            self.by_question[question].add(status, stance, reason, answers)
            self.by_model[model or ""].add(status, stance, reason, answers)
        self._add_failures(rows)
        self._add_abstentions(rows)
        self._add_usage(rows.filter(mine))
        self.sample.add(rows)

    def _columns(self, rows: pa.Table) -> pa.Array:
        """The question of every row, by the name of its column on the page."""
        names = question_names(rows).dictionary_encode()
        _, first = np.unique(names.indices.to_numpy(), return_index=True)
        texts = rows["question"].take(pa.array(first)).to_pylist()
        found = zip(names.dictionary.to_pylist(), texts, strict=True)
        columns = [self._column(name, text or "") for name, text in found]
        return pa.array(columns, pa.string()).take(names.indices)

    def _column(self, name: str, text: str) -> str:
        if name not in self.questions:
            if len(self.questions) >= MAX_QUESTIONS:
                name, text = OTHER_QUESTIONS, ""
            self.questions[name] = text
        return name

    def _add_failures(self, rows: pa.Table) -> None:
        failed = rows["failed_checks"].combine_chunks()
        questions = rows["column"].take(pc.list_parent_indices(failed))
        pairs = pa.table({"column": questions, "check": pc.list_flatten(failed)})
        for question, check, answers in _counted(pairs, "column", "check"):
            self.failures[question, check] += answers

    def _add_abstentions(self, rows: pa.Table) -> None:
        """A paper with any other answer counts -1."""
        abstained = pc.fill_null(pc.equal(rows["stance"], "abstained"), False)
        answers = pa.table({"paper": rows["paper"], "abstained": abstained.cast(pa.int64())})
        of_papers = answers.group_by("paper", use_threads=False).aggregate(
            [("abstained", "sum"), ([], "count_all")]
        )
        columns = (of_papers[name].to_pylist() for name in ("paper", "abstained_sum", "count_all"))
        for paper, abstaining, count in zip(*columns, strict=True):
            before = self.abstaining.get(paper, 0)
            all_do = before >= 0 and abstaining == count
            self.abstaining[paper] = before + count if all_do else -1

    def _add_usage(self, rows: pa.Table) -> None:
        attempts = pc.value_counts(pc.list_value_length(rows["attempts"]))
        self.attempts.update({found["values"]: found["counts"] for found in attempts.to_pylist()})
        seconds = pc.divide(rows["written_at"].cast(pa.int64()), MICROSECONDS)
        by_second = rows.select(TOKENS).append_column("second", seconds).group_by("second")
        summed = by_second.aggregate([([], "count_all"), *((name, "sum") for name in TOKENS)])
        names = ("second", "count_all", *(f"{name}_sum" for name in TOKENS))
        for second, *counts in zip(*(summed[name].to_pylist() for name in names), strict=True):
            self.usage[second].add(Usage(*counts))


def _excerpts(answers: pa.ChunkedArray) -> pa.ChunkedArray:
    """The beginning of each answer; an ellipsis ends one that is cut."""
    cut = pc.utf8_slice_codeunits(answers, 0, EXCERPT_CHARACTERS - 1)
    is_long = pc.greater(pc.utf8_length(answers), EXCERPT_CHARACTERS)
    return pc.if_else(is_long, pc.binary_join_element_wise(cut, "…", ""), answers)


def _counted(rows: pa.Table, *names: str) -> Iterator[Any]:
    """Each combination of values, as they come, and how many rows have it."""
    found = rows.group_by(names, use_threads=False).aggregate([([], "count_all")])
    return zip(*(found[name].to_pylist() for name in (*names, "count_all")), strict=True)


def build_overview(tables: Iterable[pa.Table], run_id: str, max_cells: int = MAX_CELLS) -> Overview:
    """The overview of tables with `COLUMNS`, one row per record."""
    overview = Overview(run_id, PaperSample(max_cells))
    for rows in tables:
        overview.add(rows)
    return overview


def question_name(question_id: str | None, question: str | None) -> str:
    """What identifies a question: its id, or else its text, or else the empty string."""
    return (question_id or question or "")[:MAX_NAME_CHARACTERS]


def question_names(rows: pa.Table) -> pa.Array:
    """The same for every row."""
    ids, texts = (pc.fill_null(rows[name].combine_chunks(), "") for name in _OF_QUESTION)
    names = pc.if_else(pc.equal(ids, ""), texts, ids)
    return pc.utf8_slice_codeunits(names, 0, MAX_NAME_CHARACTERS)
