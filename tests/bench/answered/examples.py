"""Answers with people's judgements: of the published corpus, or of a store and its corrections."""

import csv
import gzip
import json
import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.answering.answer_features import Features, features_of
from pipeline.answering.ground import Ground
from pipeline.answering.stance import stance_of
from pipeline.config.schema import TextGrammar
from pipeline.core.filesystem import Storage
from pipeline.core.records import ANSWER_MARKER, Message, Place, Record
from pipeline.formats.extract import extract_answer
from pipeline.reading.text import text_record
from pipeline.results.corrections.standing import consensus, standing
from pipeline.store import read_answers

OF_RECORDS = "mixtral_8_22b"
"""The model whose answers stand in the corpus' records themselves."""

FIELD = "answers_question"


@dataclass(frozen=True, slots=True)
class Example:
    """An answer, and what a person said: whether it gives what is asked for, None if nobody did."""

    record_id: str
    paper: str
    question: str
    model: str
    features: Features
    answers: bool | None

    @classmethod
    def of(
        cls, record: Record, ground: str, question: str, model: str, answer: str, label: str | None
    ) -> "Example":
        features = features_of(answer, stance_of(answer), record.question, ground)
        said = None if label is None else label == "yes"
        return cls(record.record_id, record.paper, question, model, features, said)


def of_corpus(folder: Path) -> list[Example]:
    """All models' answers to every record of the corpus of which any was judged, without labels
    that were given to another text than the answer.
    """
    labels = _labels(folder / "labels.csv")
    wanted = {record_id for record_id, _ in labels}
    records = {r.record_id: r for r in _records(folder / "records.tar.gz", wanted)}
    return [
        _of_corpus(records[record_id], model, completion, labels.get((record_id, model)))
        for record_id, model, completion in _completions(folder, records)
    ]


def _labels(path: Path) -> dict[tuple[str, str], str]:
    with path.open(encoding="utf-8", newline="") as file:
        return {(row["record"], row["model"]): row["answered"] for row in csv.DictReader(file)}


def _records(path: Path, wanted: set[str]) -> Iterator[Record]:
    with tarfile.open(path) as archive:
        for member in archive:
            if member.isfile() and Path(member.name).stem in wanted:
                data = archive.extractfile(member)
                assert data is not None
                yield text_record(data.read(), Place(f"file:///{member.name}", 0), TextGrammar())


def _completions(folder: Path, records: Mapping[str, Record]) -> Iterator[tuple[str, str, str]]:
    for record_id, record in sorted(records.items()):
        yield record_id, OF_RECORDS, record.recorded_answer or ""
    with gzip.open(folder / "answers_of_other_models.jsonl.gz") as file:
        for line in map(json.loads, file):
            if line["record"] in records:
                yield line["record"], line["model"], line["completion"]


def _of_corpus(record: Record, model: str, completion: str, label: str | None) -> Example:
    answer = extract_answer(completion)
    if not was_shown(completion, answer):
        label = None
    ground = Ground(record.messages).text
    return Example.of(record, ground, record.question_id or "", model, answer, label)


def was_shown(completion: str, answer: str) -> bool:
    """Whether people saw the answer. The study showed what stands behind the last marker, which is
    nothing where a completion ends with one, and a remark where it repeats itself.
    """
    shown = re.sub(r"^\W*Answer:*\s*", "", completion.rpartition(ANSWER_MARKER)[2].strip())
    return shown.split() == answer.split()


def of_store(uri: str) -> list[Example]:
    """All answers of a store to records of which people judged one, with what most of them say."""
    said = {
        answer: consensus(fields[FIELD])
        for answer, fields in standing(Storage().at(uri)).counting.items()
        if FIELD in fields
    }
    judged = {record_id for record_id, _ in said}
    rows = read_answers(uri).to_table().to_pylist()
    return [
        _of_row(row, said.get((row["record_id"], row["generation_key"])))
        for row in rows
        if row["record_id"] in judged
    ]


def _of_row(row: Mapping[str, Any], said: str | None) -> Example:
    record = Record(
        row["record_id"], Place("", 0), row["paper_id"], row["question_id"], row["question"]
    )
    ground = Ground([Message(m["role"], m["content"]) for m in row["messages"]]).text
    label = said if said in ("yes", "no") else None
    question = row["question_id"] or row["question"] or ""
    return Example.of(record, ground, question, row["model"], row["answer"], label)
