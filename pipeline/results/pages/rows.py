"""The answers of a page as columns for its script, which makes the table and the matrix of them.

Columns that all rows need come at once: numbers of papers, questions and kinds. Others are data of
their own, decompressed when they are first used: ids, carried columns, and the beginnings of
answers, as far as there is room for them.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pipeline.core.carried import as_json, columns_of
from pipeline.core.text import natural
from pipeline.results.pages.answers import shortened
from pipeline.results.pages.overview import Overview
from pipeline.results.pages.page import MAX_DATA_BYTES, compressed_json
from pipeline.results.pages.paper_sample import Cell, CellKind, stable_hash
from pipeline.results.papers import paper_name

MAX_EXCERPT_BYTES = MAX_DATA_BYTES * 2 // 5
EXCERPTS_PER_CHUNK = 2_000

MAX_COLUMNS, MAX_COLUMN_BYTES = 20, MAX_DATA_BYTES // 7
"""Carried columns of all rows, in the order in which they come, and the room for all of them."""

MAX_VALUE_CHARACTERS = 200


class Rows(NamedTuple):
    """Data of a page by name, and the names of the carried columns among them."""

    data: list[tuple[str, str]]
    columns: list[str]

    @property
    def size(self) -> int:
        return sum(len(content) for _, content in self.data)


def rows_of(overview: Overview) -> Rows:
    """All rows of an overview, in the order of its papers, and what else belongs to them."""
    cells = [cell for row in overview.papers.values() for cell in row]
    columns = dict(_columns(cells))
    excerpts, excerpted = _excerpts(overview)
    content = {**_content(overview, cells), "columns": list(columns), "excerpted": excerpted}
    ids = compressed_json([cell.record_id for cell in cells])
    carried = [(f"column-{number}", data) for number, data in enumerate(columns.values())]
    return Rows(
        [("rows", compressed_json(content)), ("ids", ids), *carried, *excerpts], list(columns)
    )


def _content(overview: Overview, cells: Sequence[Cell]) -> dict[str, Any]:
    """Questions in their natural order; `papers` are names with the number of their rows."""
    names = sorted(overview.questions, key=natural)
    questions = {name: number for number, name in enumerate(names)}
    kinds: dict[CellKind, int] = {}
    return {
        "questions": [(name, shortened(overview.questions[name])) for name in names],
        "papers": [(paper_name(paper), len(row)) for paper, row in overview.papers.items()],
        "question": [questions[cell.question] for cell in cells],
        "kind": [kinds.setdefault(cell.kind, len(kinds)) for cell in cells],
        "kinds": list(kinds),
        "words": [cell.words for cell in cells],
        "p": [None if (p := cell.p_answered) is None else round(p, 2) for cell in cells],
    }


def _columns(cells: Sequence[Cell]) -> Iterator[tuple[str, str]]:
    """Carried columns by name: their distinct values, and the number of each row's."""
    extras = [columns_of(cell.extra) for cell in cells]
    names = dict.fromkeys(name for extra in extras for name in extra)
    room = MAX_COLUMN_BYTES
    for name in list(names)[:MAX_COLUMNS]:
        values: dict[str, int] = {"": 0}
        at = [values.setdefault(_text(extra, name), len(values)) for extra in extras]
        data = compressed_json({"values": list(values), "at": at})
        if len(data) <= room:
            room -= len(data)
            yield shortened(name), data


def _text(extra: Mapping[str, Any], name: str) -> str:
    value = extra.get(name)
    text = "" if value is None else value if isinstance(value, str) else as_json(value)
    return text[:MAX_VALUE_CHARACTERS]


def _excerpts(overview: Overview) -> tuple[list[tuple[str, str]], list[list[int]]]:
    """Beginnings of answers in chunks, and the papers of each chunk, by their numbers.

    Whole papers come in the order of their hash, so that those that fit are a fair sample.
    """
    numbers = {paper: number for number, paper in enumerate(overview.papers)}
    chunks: list[tuple[str, str]] = []
    papers: list[list[int]] = []
    room, texts, chosen = MAX_EXCERPT_BYTES, [], []
    ordered = sorted(overview.papers, key=stable_hash)
    for at, paper in enumerate(ordered, 1):
        texts += [cell.excerpt for cell in overview.papers[paper]]
        chosen.append(numbers[paper])
        if len(texts) < EXCERPTS_PER_CHUNK and at < len(ordered):
            continue
        chunk = compressed_json(texts)
        if len(chunk) > room:
            break
        room -= len(chunk)
        chunks.append((f"excerpts-{len(chunks)}", chunk))
        papers.append(chosen)
        texts, chosen = [], []
    return chunks, papers
