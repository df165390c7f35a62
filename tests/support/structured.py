"""The published text records as structured records, with a passage per paragraph of context."""

import re
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from pipeline.config.schema import TextGrammar
from pipeline.core.records import Passage, Place, Record
from pipeline.reading.text import text_record
from tests.support.jobs import Corpus


def structured(corpus: Corpus, papers: int) -> list[list[Record]]:
    """The records of the first `papers` papers, in the order of their questions."""
    paths = sorted(corpus.records.iterdir(), key=lambda path: _paper_and_question(path.name))
    by_paper = [
        list(group) for _, group in groupby(paths, lambda p: _paper_and_question(p.name)[0])
    ]
    return [[_record(path) for path in group] for group in by_paper[:papers]]


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
    """Records dealt to shards in turn, so that each shard has some of every paper."""
    return [list(records[first::shards]) for first in range(shards)]


def _record(path: Path) -> Record:
    parsed = text_record(path.read_bytes(), Place(path.name, 0), TextGrammar())
    paper, question = _paper_and_question(path.name)
    (context,) = parsed.passages
    pieces = [piece for piece in re.split(r"\n\s*\n", context.text) if piece.strip()]
    return Record(
        record_id=path.stem,
        place=parsed.place,
        paper_id=paper,
        question_id=f"CQ{question}",
        question=parsed.question,
        passages=tuple(map(Passage, pieces)),
    )


def _paper_and_question(name: str) -> tuple[str, int]:
    paper, _, question = name.removesuffix(".txt").rpartition("_CQ")
    return paper, int(question)
