"""Stored answers that lack a judgement: read part by part, and stored anew with it.

A row is never changed: one with the same content and a longer list of judgements is stored beside
it, as `filling` does for carried columns. It counts in the place of the other.

*Crash windows:* a kill between a verdict and the part that holds it loses the verdict alone; the
next run asks again. A kill after a part has appeared leaves its answers judged and the others as
before. Where two runs judge one answer in the same moment, both rows are equally new and one
counts; a judgement that only the other has is asked for again by its own job's next run. A part
that was compacted away since it was listed is left to the next run.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa

from pipeline.core.arrow import lists_of_structs, pack, set_column, slices
from pipeline.core.filesystem import Location
from pipeline.core.records import Judgement
from pipeline.store.filling import a_moment_later, is_current
from pipeline.store.parts import PartGone, read_batches
from pipeline.store.reader import (
    BY_GENERATION,
    Digests,
    PartRows,
    as_digests,
    counting_rows,
    row_digests,
)
from pipeline.store.schema import ANSWERS, ANSWERS_FOLDER, JUDGEMENTS
from pipeline.store.sink import Sink


@dataclass(frozen=True, slots=True)
class CurrentAnswers:
    """The answers that the store holds to some of a run's prompts, by their digests."""

    answers: Digests

    @classmethod
    def among(cls, prompts: pa.Table) -> Self:
        return cls(row_digests(prompts.filter(is_current(prompts)), BY_GENERATION))


@dataclass(frozen=True, slots=True)
class ToJudge:
    """Answers of a store to be judged, by their sorted digests."""

    answers: Digests

    @classmethod
    def of(cls, current: Sequence[CurrentAnswers], unjudged: Digests) -> Self:
        """Those of a run's current answers that lack a judgement."""
        found = np.concatenate([as_digests([]), *(some.answers for some in current)])
        return cls(np.intersect1d(found, unjudged))

    def parts(self, store: Location) -> list[PartRows]:
        """The parts of a store with counting rows of these answers."""
        if not len(self.answers):
            return []
        parts = counting_rows(store.join(ANSWERS_FOLDER))
        return [part for part in parts if np.isin(part.keys[part.counts], self.answers).any()]

    def batches(self, part: PartRows, sink: Sink) -> Iterator[pa.Table]:
        """A part's rows of these answers, packed a batch at a time."""
        at, fs = 0, sink.storage.at(sink.uri).fs
        with suppress(PartGone):
            for rows in read_batches(fs, part.path, ANSWERS.names):
                here = slice(at, at := at + rows.num_rows)
                wanted = part.counts[here] & np.isin(part.keys[here], self.answers)
                found = rows.filter(pa.array(wanted)).select(ANSWERS.names)
                yield from (pack([batch]) for batch in slices(found, sink.rows_per_file))


def with_judgements(rows: pa.Table, judgements: Sequence[Judgement]) -> pa.Table:
    """Rows with one more judgement each, to be stored beside those that they are copies of."""
    before = [tuple(Judgement(**j) for j in row or ()) for row in rows["judgements"].to_pylist()]
    grown = [(*old, new) for old, new in zip(before, judgements, strict=True)]
    return a_moment_later(set_column(rows, "judgements", lists_of_structs(grown, JUDGEMENTS)))
