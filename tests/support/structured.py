"""The published records as structured ones: their contexts cut into passages at blank lines."""

import re
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from pipeline.config.schema import TextGrammar
from pipeline.core.records import Passage, Place, Record
from pipeline.reading.text import text_record
from tests.support.jobs import Corpus


def structured(corpus: Corpus, papers: int) -> list[list[Record]]:
    """So many papers, each with its records in the order of their questions."""
    paths = sorted(corpus.records.iterdir(), key=lambda path: _paper_and_question(path.name))
    by_paper = [list(held) for _, held in groupby(paths, lambda p: _paper_and_question(p.name)[0])]
    return [[_record(path) for path in held] for held in by_paper[:papers]]


def as_row(record: Record) -> dict[str, object]:
    """A record as a line of a JSONL shard."""
    return {
        "record_id": record.record_id,
        "paper_id": record.paper_id,
        "question_id": record.question_id,
        "question": record.question,
        "passages": [passage.text for passage in record.passages],
    }


def dealt(records: Sequence[Record], shards: int) -> list[list[Record]]:
    """Records dealt out to shards one by one, so that a paper's lie in all of them."""
    return [list(records[at::shards]) for at in range(shards)]


def _record(path: Path) -> Record:
    read = text_record(path.read_bytes(), Place(path.name, 0), TextGrammar())
    paper, question = _paper_and_question(path.name)
    (context,) = read.passages
    pieces = [piece for piece in re.split(r"\n\s*\n", context.text) if piece.strip()]
    return Record(
        record_id=path.stem,
        place=read.place,
        paper_id=paper,
        question_id=f"CQ{question}",
        question=read.question,
        passages=tuple(map(Passage, pieces)),
    )


def _paper_and_question(name: str) -> tuple[str, int]:
    paper, _, question = name.removesuffix(".txt").rpartition("_CQ")
    return paper, int(question)
