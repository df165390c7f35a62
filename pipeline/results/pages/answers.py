"""What opens behind a cell: an answer, its attempts and checks, and the prompt with the sentences
that support it.

A page has room for some of them: a fair sample of whole papers, whose prompts share most of their
text, and beside them what failed elsewhere.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.answering.recheck import Boilerplates
from pipeline.core.text import content_words
from pipeline.results.pages.evidence import sentences_of, supporting
from pipeline.results.pages.matrix import Cell, asked_of, draw

COLUMNS = (
    "record_id",
    "paper_id",
    "question_id",
    "question",
    "prompt_name",
    "prompt_version",
    "messages",
    "model",
    "model_revision",
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
)

MOST_CASES = 8_000
MOST_FAILED = 2_000

MOST_CHARACTERS = 40_000
"""Of one text; a page shows no more of it, and says so."""

Row = Mapping[str, Any]


def wanted(papers: Mapping[str, list[Cell]]) -> list[str]:
    """Ids of the records to open: whole papers as the lot has it, and failed ones of the others."""
    drawn = iter(sorted(papers, key=draw))
    chosen: list[str] = []
    for paper in drawn:
        if len(chosen) + len(papers[paper]) > MOST_CASES and chosen:
            drawn = chain([paper], drawn)
            break
        chosen.extend(cell.record_id for cell in papers[paper])
    failed = [c.record_id for p in drawn for c in papers[p] if c.kind.status == "failed"]
    return [*chosen, *sorted(failed, key=draw)[:MOST_FAILED]]


def rows_of(tables: Iterable[pa.Table], record_ids: Iterable[str]) -> dict[str, list[Row]]:
    """The rows of records, by paper."""
    asked = pa.array(list(record_ids), pa.string())
    found: defaultdict[str, list[Row]] = defaultdict(list)
    for rows in tables:
        for row in rows.filter(pc.is_in(rows["record_id"], asked)).to_pylist():
            found[row["paper_id"] or row["record_id"]].append(row)
    return found


def held(rows: Iterable[Row], boilerplates: Boilerplates) -> dict[str, Any]:
    """What the page holds of a paper: its cases, with the paragraphs that their prompts share.

    A paragraph is a list of sentences, which joined are its text; a prompt names paragraphs by
    number, and what supports an answer by paragraph and sentence.
    """
    paper = _Paper(boilerplates)
    for row in rows:
        paper.add(row)
    return {"paragraphs": paper.sentences, "cases": paper.cases}


@dataclass(slots=True)
class _Paper:
    boilerplates: Boilerplates
    paragraphs: dict[str, int] = field(default_factory=dict)
    sentences: list[tuple[str, ...]] = field(default_factory=list)
    words: list[tuple[frozenset[str], ...]] = field(default_factory=list)
    cases: list[dict[str, Any]] = field(default_factory=list)

    def add(self, row: Row) -> None:
        prompt = [
            [message["role"], [self._number(text) for text in _paragraphs(message["content"])]]
            for message in row["messages"]
        ]
        self.cases.append({**_case(row), "prompt": prompt, "support": self._support(row, prompt)})

    def _number(self, text: str) -> int:
        if text not in self.paragraphs:
            self.paragraphs[text] = len(self.sentences)
            self.sentences.append(sentences_of(text))
            self.words.append(tuple(map(content_words, self.sentences[-1])))
        return self.paragraphs[text]

    def _support(self, row: Row, prompt: list[list[Any]]) -> list[tuple[int, int]]:
        """Sentences of passages alone: what the template or the question says supports nothing."""
        if row["stance"] == "abstained" or not row["answer"]:
            return []
        own = self.boilerplates.of(row) + "\n" + (row["question"] or "")
        numbers = dict.fromkeys(chain.from_iterable(paragraphs for _, paragraphs in prompt))
        places = [
            (paragraph, at)
            for paragraph in numbers
            for at, sentence in enumerate(self.sentences[paragraph])
            if sentence.strip() not in own
        ]
        words = [self.words[paragraph][at] for paragraph, at in places]
        return [places[n] for n in sorted(supporting(row["answer"], words))]


def _case(row: Row) -> dict[str, Any]:
    answer = row["answer"] or ""
    return {
        "id": row["record_id"],
        "asked": asked_of(row["question_id"], row["question"]),
        "question": cut(row["question"] or ""),
        "status": row["status"],
        "stance": row["stance"],
        "words": row["word_count"],
        "answer": cut(answer),
        "checks": [[c["name"], c["passed"], c["level"], cut(c["evidence"])] for c in row["checks"]],
        "attempts": [_attempt(attempt) for attempt in row["attempts"]],
        "prompted": f"{row['prompt_name']}@{row['prompt_version']}",
        "model": "@".join(filter(None, (row["model"], row["model_revision"]))),
        "repairs": row["input_repairs"] or [],
        "place": f"{row['source_uri']}#{row['source_row']}",
        "run": row["run_id"],
        "written": row["written_at"].isoformat(timespec="seconds"),
    }


def _attempt(attempt: Row) -> list[Any]:
    counts = (attempt[name] for name in ("prompt_tokens", "cached_tokens", "completion_tokens"))
    return [
        cut(attempt["completion"] or ""),
        attempt["finish_reason"],
        attempt["failed_checks"],
        *counts,
        round(attempt["seconds"] or 0.0, 2),
    ]


def _paragraphs(text: str) -> Iterator[str]:
    """Parts of a text that a blank line ends, with it; joined they are the text."""
    pieces = cut(text).split("\n\n")
    yield from (piece + "\n\n" for piece in pieces[:-1])
    yield pieces[-1]


def cut(text: str) -> str:
    """A text as far as a page shows it."""
    more = len(text) - MOST_CHARACTERS
    return f"{text[:MOST_CHARACTERS]} … and {more:,} more characters" if more > 0 else text
