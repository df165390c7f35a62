"""The answers that open behind the cells of a run's page, with attempts, checks and prompt.

A page has room for a limited number: a fair sample of whole papers, whose prompts share most of
their text, and some failed answers of other papers.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.answering.recheck import Boilerplates
from pipeline.core.carried import as_json, columns_of
from pipeline.core.text import content_words, plural
from pipeline.results.pages.evidence import sentences_of, supporting
from pipeline.results.pages.matrix import Cell, question_name, stable_hash
from pipeline.results.papers import paper_key
from pipeline.store.corrections import answer_sha256

COLUMNS = (
    "record_id",
    "generation_key",
    "paper_id",
    "question_id",
    "question",
    "prompt_name",
    "prompt_version",
    "messages",
    "model",
    "model_revision",
    "adapter",
    "status",
    "stance",
    "answer",
    "finish_reason",
    "checks",
    "attempts",
    "word_count",
    "input_repairs",
    "source_uri",
    "source_row",
    "run_id",
    "written_at",
    "extra",
)

MAX_ANSWERS = 8_000
MAX_FAILED = 2_000

MAX_COLUMNS = 200
"""Carried columns that a page offers to filter by; a cell shows all."""

MAX_CHARACTERS = 40_000
"""Characters of one text that a page shows."""

Row = Mapping[str, Any]


def sample_records(papers: Mapping[str, list[Cell]]) -> list[str]:
    """Ids of the records whose answers open: those of whole papers, sampled by the hash of their
    names, and failed ones of other papers.
    """
    remaining = iter(sorted(papers, key=stable_hash))
    sampled: list[str] = []
    for paper in remaining:
        if len(sampled) + len(papers[paper]) > MAX_ANSWERS and sampled:
            remaining = chain([paper], remaining)
            break
        sampled.extend(cell.record_id for cell in papers[paper])
    failed = [c.record_id for p in remaining for c in papers[p] if c.kind.status == "failed"]
    return [*sampled, *sorted(failed, key=stable_hash)[:MAX_FAILED]]


def rows_of(tables: Iterable[pa.Table], record_ids: Iterable[str]) -> dict[str, Row]:
    """The rows of some records, by record."""
    ids = pa.array(list(record_ids), pa.string())
    return {
        row["record_id"]: row
        for rows in tables
        for row in rows.filter(pc.is_in(rows["record_id"], ids)).to_pylist()
    }


def by_paper(rows: Mapping[str, Row], record_ids: Iterable[str]) -> dict[str, list[Row]]:
    """The rows of some records, by paper, in the order of `rows`."""
    wanted = frozenset(record_ids)
    papers: defaultdict[str, list[Row]] = defaultdict(list)
    for record_id, row in rows.items():
        if record_id in wanted:
            papers[paper_key(row["paper_id"], record_id)].append(row)
    return papers


def paper_content(rows: Iterable[Row], boilerplates: Boilerplates) -> dict[str, Any]:
    """What a page contains of a paper: its answers, and the paragraphs that their prompts share.

    A paragraph is a list of sentences that joined are its text. Prompts refer to paragraphs by
    number; the support of an answer is a list of (paragraph, sentence) numbers.
    """
    paper = _Paper(boilerplates)
    for row in rows:
        paper.add(row)
    return {"paragraphs": paper.sentences, "answers": paper.answers}


@dataclass(slots=True)
class _Paper:
    boilerplates: Boilerplates
    paragraphs: dict[str, int] = field(default_factory=dict)
    sentences: list[tuple[str, ...]] = field(default_factory=list)
    words: list[tuple[frozenset[str], ...]] = field(default_factory=list)
    answers: list[dict[str, Any]] = field(default_factory=list)

    def add(self, row: Row) -> None:
        prompt = [
            [message["role"], [self._number(text) for text in _paragraphs(message["content"])]]
            for message in row["messages"]
        ]
        support = self._support(row, prompt)
        self.answers.append({**_answer(row), "prompt": prompt, "support": support})

    def _number(self, text: str) -> int:
        if text not in self.paragraphs:
            self.paragraphs[text] = len(self.sentences)
            self.sentences.append(sentences_of(text))
            self.words.append(tuple(map(content_words, self.sentences[-1])))
        return self.paragraphs[text]

    def _support(self, row: Row, prompt: list[list[Any]]) -> list[tuple[int, int]]:
        """Sentences of passages only: not those of the template or the question."""
        if row["stance"] == "abstained" or not row["answer"]:
            return []
        excluded = self.boilerplates.of(row) + "\n" + (row["question"] or "")
        numbers = dict.fromkeys(chain.from_iterable(paragraphs for _, paragraphs in prompt))
        places = [
            (paragraph, index)
            for paragraph in numbers
            for index, sentence in enumerate(self.sentences[paragraph])
            if sentence.strip() not in excluded
        ]
        words = [self.words[paragraph][index] for paragraph, index in places]
        return [places[n] for n in sorted(supporting(row["answer"], words))]


def _answer(row: Row) -> dict[str, Any]:
    checks = [[c["name"], c["passed"], c["level"], shortened(c["evidence"])] for c in row["checks"]]
    return {
        "id": row["record_id"],
        "key": correction_key(row),
        "question_name": question_name(row["question_id"], row["question"]),
        "question": shortened(row["question"] or ""),
        "status": row["status"],
        "stance": row["stance"],
        "words": row["word_count"],
        "answer": shortened(row["answer"] or ""),
        "columns": carried_texts(row),
        "checks": checks,
        "attempts": [_attempt(attempt) for attempt in row["attempts"]],
        "template": f"{row['prompt_name']}@{row['prompt_version']}",
        "model": model_name(row),
        "repairs": row["input_repairs"] or [],
        "source": f"{row['source_uri']}#{row['source_row']}",
        "run": row["run_id"],
        "written_at": row["written_at"].isoformat(timespec="seconds"),
    }


def correction_key(row: Row) -> str:
    """What a correction names an answer by, as JSON in ASCII: a page shows no text as it is, and a
    corrections file must.
    """
    sha256 = answer_sha256(row["answer"])
    names = json.dumps([row["record_id"], row["generation_key"], sha256])
    return names.replace("\x7f", "\\u007f")


def carried_texts(row: Row) -> list[tuple[str, str]]:
    """Names and values of an answer's carried columns, as text."""
    return [
        (shortened(name), shortened(value if isinstance(value, str) else as_json(value)))
        for name, value in columns_of(row["extra"]).items()
        if value is not None
    ]


def carried_names(papers: Iterable[Iterable[Row]]) -> list[str]:
    """The carried columns that some answer has, in the order in which they come."""
    texts = chain.from_iterable(carried_texts(row) for rows in papers for row in rows)
    return list(dict.fromkeys(name for name, _ in texts))[:MAX_COLUMNS]


def model_name(row: Row) -> str:
    """Model, revision and adapter, as far as an answer has them."""
    model = "@".join(filter(None, (row["model"], row["model_revision"])))
    return " + ".join(filter(None, (model, row["adapter"])))


def _attempt(attempt: Row) -> list[Any]:
    counts = (attempt[name] for name in ("prompt_tokens", "cached_tokens", "completion_tokens"))
    return [
        shortened(attempt["completion"] or ""),
        attempt["finish_reason"],
        attempt["failed_checks"],
        *counts,
        round(attempt["seconds"] or 0.0, 2),
    ]


def _paragraphs(text: str) -> Iterator[str]:
    """Paragraphs with the blank line that ends them, so that joined they are the text."""
    pieces = shortened(text).split("\n\n")
    yield from (piece + "\n\n" for piece in pieces[:-1])
    yield pieces[-1]


def shortened(text: str) -> str:
    """A text up to the limit of a page, followed by how much is missing."""
    more = len(text) - MAX_CHARACTERS
    return f"{text[:MAX_CHARACTERS]} … and {plural(more, 'more character')}" if more > 0 else text
