"""The answers that open behind the cells of a run's page, with attempts, checks and prompt.

A page has room for a limited number: a fair sample of whole papers, whose prompts share most of
their text, and some failed answers of other papers.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from pipeline.answering.recheck import Boilerplates
from pipeline.core.carried import as_json, columns_of
from pipeline.core.filesystem import Location
from pipeline.core.text import plural, visible
from pipeline.results.pages.overview import question_name
from pipeline.results.pages.paper_sample import Cell, stable_hash
from pipeline.results.papers import paper_key
from pipeline.store.corrections import answer_sha256
from pipeline.store.reader import BY_RECORD, as_digests, key_digest, read_rows

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
    "reasoning",
    "answers_question",
    "p_answered",
    "claims",
    "judgements",
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


def rows_of(store: Location, record_ids: Iterable[str]) -> dict[str, Row]:
    """The newest rows of some records, by record; prompts of other parts are not read."""
    only = as_digests(key_digest(record_id.encode()) for record_id in record_ids)
    tables = read_rows(store, BY_RECORD, COLUMNS, only)
    return {row["record_id"]: row for rows in tables for row in rows.to_pylist()}


def by_paper(rows: Mapping[str, Row], record_ids: Iterable[str]) -> dict[str, list[Row]]:
    """The rows of some records, by paper, in the order of `rows`."""
    wanted = frozenset(record_ids)
    papers: defaultdict[str, list[Row]] = defaultdict(list)
    for record_id, row in rows.items():
        if record_id in wanted:
            papers[paper_key(row["paper_id"], record_id)].append(row)
    return papers


def paper_content(rows: Iterable[Row], boilerplates: Boilerplates) -> dict[str, Any]:
    """What a page contains of a paper: its answers, and what their prompts share.

    Prompts refer to paragraphs by number, and to their boilerplate: the text that is neither
    passage nor question.
    """
    paragraphs: dict[str, int] = {}
    known: dict[str, int] = {}
    answers = [
        {
            **_answer(row),
            "prompt": [_numbered(message, paragraphs) for message in row["messages"]],
            "boilerplate": known.setdefault(shortened(boilerplates.of(row)), len(known)),
        }
        for row in rows
    ]
    return {"paragraphs": list(paragraphs), "boilerplates": list(known), "answers": answers}


def _numbered(message: Row, paragraphs: dict[str, int]) -> tuple[str, list[int]]:
    """A message as its role and the numbers of its paragraphs, new ones of which are added."""
    texts = _paragraphs(message["content"])
    return message["role"], [paragraphs.setdefault(text, len(paragraphs)) for text in texts]


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
        "verdict": row["answers_question"],
        "p": row["p_answered"],
        "reasoning": shortened(row["reasoning"] or ""),
        "columns": carried_texts(row),
        "checks": checks,
        "claims": [_claim(claim, row) for claim in row["claims"] or ()],
        "judgements": [(j["rater"], j["value"]) for j in row["judgements"] or ()],
        "attempts": [_attempt(attempt) for attempt in row["attempts"]],
        "template": f"{row['prompt_name']}@{row['prompt_version']}",
        "model": model_name(row),
        "repairs": row["input_repairs"] or [],
        "source": f"{row['source_uri']}#{row['source_row']}",
        "run": row["run_id"],
        "written_at": row["written_at"].isoformat(timespec="seconds"),
    }


def _claim(claim: Row, row: Row) -> list[Any]:
    """Check, kind and text of a claim, its place in the answer, and the nearest in the prompt: the
    number of a message, and a place there. Places are those in the texts that the page shows.
    """
    answer, number = row["answer"] or "", claim["message"]
    is_of_answer = answer[claim["start"] : claim["end"]] == claim["text"]
    source = row["messages"][number]["content"] if number is not None else None
    return [
        claim["check"],
        claim["kind"],
        shortened(claim["text"]),
        _shown_place(answer, claim["start"], claim["end"]) if is_of_answer else None,
        number,
        _shown_place(source, claim["source_start"], claim["source_end"]) if source else None,
    ]


def _shown_place(text: str, start: int, end: int) -> tuple[int, int] | None:
    """Offsets in UTF-16 units into a text as the page shows it; None beyond what it shows."""
    if end > MAX_CHARACTERS:
        return None
    first, second = (len(visible(text[:at]).encode("utf-16-le")) // 2 for at in (start, end))
    return first, second


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
        shortened(attempt["reasoning"] or ""),
        shortened(attempt["asked"] or ""),
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
