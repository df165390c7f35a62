"""How long a model's answers were in earlier runs: what the next ones are expected to take."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config.bucket import WHOLE, Bucket
from pipeline.core.filesystem import Location
from pipeline.core.identity import id_digest
from pipeline.store.parts import columns_in, read_parts, rows_in, with_parts
from pipeline.store.reader import newest, written_micros
from pipeline.store.schema import ANSWERS_FOLDER

MOST_ROWS = 100_000
"""Answers that are looked at, those of the newest parts: 1.2 MB of lengths, read in 0.3 s."""

PRIOR_ANSWERS = 8
"""Answers of any question that count beside those of one question: as many as these are needed for
what is their own to outweigh chance."""

OWN_SHARE = 0.5
"""Weight of a record's own last answer; the rest is its question's."""

COLUMNS = ("record_id", "question_id", "question", "model", "completion_tokens", "written_at")

Numbers: TypeAlias = npt.NDArray[np.int64]
Tokens: TypeAlias = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class LengthsByText:
    """Tokens by texts, which are known by sorted digests; arrays of equal length."""

    texts: Numbers
    tokens: Tokens

    def find(self, texts: Sequence[str]) -> Tokens:
        """The tokens of each text, NaN where there are none."""
        wanted = digests(texts)
        found = np.full(len(wanted), np.nan, np.float32)
        if len(self.texts):
            at = np.searchsorted(self.texts, wanted).clip(max=len(self.texts) - 1)
            hits = self.texts[at] == wanted
            found[hits] = self.tokens[at[hits]]
        return found


@dataclass(frozen=True, slots=True)
class Lengths:
    """Completion tokens of a model's answers, reasoning and repairs included, each at least 1.

    `mean` is that of all of them. Those of a question are shrunk to it; a question is known by its
    id, or by its words where it has none.
    """

    records: LengthsByText
    questions: LengthsByText
    mean: float

    @staticmethod
    def of(store: Location, model: str, bucket: Bucket = WHOLE) -> "Lengths | None":
        """Reads some columns of a store's newest parts; None if they hold no answer of the model.

        The store may not exist yet.
        """
        folder = store.join(ANSWERS_FOLDER)
        return with_parts(folder, lambda parts: _lengths(folder, parts, model, bucket), bucket)

    @staticmethod
    def among(answers: pa.Table) -> "Lengths":
        """From rows of `COLUMNS`, at least one, all of which have tokens."""
        tokens = np.asarray(answers["completion_tokens"].to_numpy(), np.float64)
        mean = float(tokens.mean())
        records = digests(answers["record_id"].to_pylist())
        last = newest(records, written_micros(answers))
        each, at = np.unique(_question_digests(answers), return_inverse=True)
        sums, counts = np.bincount(at, tokens), np.bincount(at)
        shrunk = (sums + PRIOR_ANSWERS * mean) / (counts + PRIOR_ANSWERS)
        return Lengths(
            LengthsByText(records[last], tokens[last].astype(np.float32)),
            LengthsByText(each, shrunk.astype(np.float32)),
            mean,
        )

    def expected(self, record_ids: Sequence[str], questions: Sequence[str]) -> list[int]:
        """Tokens expected of the answers to these records, at least 1 each.

        `questions` are what `question_key` gives.
        """
        of_question = _or_else(self.questions.find(questions), self.mean)
        own = self.records.find(record_ids)
        both = OWN_SHARE * own + (1 - OWN_SHARE) * of_question
        return list(np.maximum(np.rint(_or_else(both, of_question)), 1).astype(int).tolist())


def question_key(question_id: str | None, question: str | None) -> str:
    """By what the answers to a question are found."""
    return question_id or question or ""


def digests(texts: Iterable[str]) -> Numbers:
    """Numbers that tell texts apart, the same in every process."""
    return np.array([*map(id_digest, texts)], np.uint64).view(np.int64)


def _or_else(tokens: Tokens, others: Tokens | float) -> Tokens:
    return np.asarray(np.where(np.isnan(tokens), others, tokens), np.float32)


def _lengths(folder: Location, parts: Sequence[str], model: str, bucket: Bucket) -> Lengths | None:
    tables = list(_newest_answers(folder, parts, model, bucket))
    return Lengths.among(pa.concat_tables(tables)) if tables else None


def _newest_answers(
    folder: Location, parts: Sequence[str], model: str, bucket: Bucket
) -> Iterator[pa.Table]:
    """Rows of the model that have tokens, `MOST_ROWS` at most; names of parts sort by run."""
    left = MOST_ROWS
    for part in read_parts(folder.fs, sorted(parts, reverse=True), columns_in(bucket, COLUMNS)):
        rows = rows_in(bucket, part)
        is_wanted = pc.and_(
            pc.equal(rows["model"], model), pc.greater(rows["completion_tokens"], 0)
        )
        answers = rows.filter(is_wanted).slice(0, left)
        left -= answers.num_rows
        if answers.num_rows:
            yield answers
        if not left:
            return


def _question_digests(answers: pa.Table) -> Numbers:
    """Those of the questions of all rows; most are asked of many papers."""
    ids = pc.if_else(pc.equal(answers["question_id"], ""), None, answers["question_id"])
    keys = pc.fill_null(pc.coalesce(ids, answers["question"]), "").combine_chunks()
    encoded = keys.dictionary_encode()
    at = np.asarray(encoded.indices.to_numpy(), np.intp)
    return digests(encoded.dictionary.to_pylist()).take(at)
