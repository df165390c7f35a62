"""The order in which people should read answers: the page, `plan` and reading sheets follow it.

An answer comes first that failed, then one of which nobody knows whether it answers, then one that
states what its prompt does not hold, then one about which raters differ.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.core.identity import id_digest
from pipeline.results.agreement.raters import OF_SUPPORT

Reason: TypeAlias = Literal[
    "failed",  # a check failed it
    "unsure",  # `answers_question` is unsure
    "unsupported",  # it states something that its prompt does not hold, or a judge says so
    "differing",  # judges, or several models about the same record, say yes as well as no
]
"""Why a person should look at an answer, the most urgent first."""

REASONS: tuple[Reason, ...] = get_args(Reason)

COLUMNS = (
    "record_id",
    "status",
    "answers_question",
    "p_answered",
    "claims.list.element.kind",
    "judgements.list.element.rater",
    "judgements.list.element.value",
)
"""Columns of answers, and fields of nested ones, that the order depends on; all are small."""

SIDES = ("yes", "no")
_WEIGHTS = 2 ** np.arange(len(REASONS))[::-1]
_CLOSEST = 0.9
"""What an answer adds to its score whose probability is 0.5: less than any reason."""

REASONS_OF_SET = [
    tuple(reason for bit, reason in enumerate(REASONS) if number >> bit & 1)
    for number in range(2 ** len(REASONS))
]
"""Every set of reasons, by its number: one bit each."""

Mask: TypeAlias = npt.NDArray[np.bool_]
Hashes: TypeAlias = npt.NDArray[np.uint64]

NOWHERE: Hashes = np.empty(0, np.uint64)


@dataclass(frozen=True, slots=True)
class Ranks:
    """The rank of every row of a table: `scores` of shape (n,), highest first to read, and `found`
    of shape (4, n), whether each of `REASONS` applies.
    """

    scores: npt.NDArray[np.float64]
    found: Mask

    def reasons(self, row: int) -> tuple[Reason, ...]:
        return tuple(r for r, is_so in zip(REASONS, self.found[:, row], strict=True) if is_so)

    def sets(self) -> npt.NDArray[np.int64]:
        """The reasons of every row, as a number: see `REASONS_OF_SET`."""
        return np.asarray(2 ** np.arange(len(REASONS)) @ self.found, np.int64)

    def first_reasons(self) -> list[Reason | None]:
        """The most urgent reason of every row; None where there is none."""
        first = np.where(self.found.any(axis=0), self.found.argmax(axis=0), len(REASONS))
        return [[*REASONS, None][number] for number in first]


def rank(rows: pa.Table, differing: Hashes = NOWHERE) -> Ranks:
    """Ranks rows with `COLUMNS`; `differing` are digests of records about which models differ.

    A more urgent reason outweighs all others together. Among rows with the same reasons those come
    first whose `p_answered` is closest to 0.5. A column that is null, or that an old store does not
    have, gives no reason.
    """
    verdicts = rows["answers_question"].combine_chunks()
    supported, answers = _judged(rows)
    found = np.stack(
        [
            as_mask(pc.equal(rows["status"], "failed")),
            as_mask(pc.equal(verdicts, "unsure")),
            _holds_unsupported(rows) | supported["no"],
            _differ(answers, verdicts) | _are_in(rows["record_id"], differing),
        ]
    )
    p = pc.fill_null(rows["p_answered"], 1.0).to_numpy().astype(np.float64)
    return Ranks(_WEIGHTS @ found + _CLOSEST * (1 - 2 * np.abs(p - 0.5)), found)


class Entry(NamedTuple):
    """An answer to read; `tie` is a hash of its record, the same on every machine."""

    score: float
    tie: int
    record_id: str
    reasons: tuple[Reason, ...]


@dataclass(slots=True)
class Reading:
    """The answers to read first, at most `limit` of them, and how many there is each reason to
    read, collected table by table.
    """

    limit: int
    differing: Hashes = field(default_factory=lambda: NOWHERE)
    entries: list[Entry] = field(default_factory=list)  # in the order in which to read
    counts: Counter[Reason] = field(default_factory=Counter)

    def add(self, rows: pa.Table) -> Ranks:
        """Counts rows with `COLUMNS`; keeps those that come before what it has; returns their
        ranks.
        """
        ranks = rank(rows, self.differing)
        self.counts.update(dict(zip(REASONS, ranks.found.sum(axis=1).tolist(), strict=True)))
        if self.limit:
            self._keep(rows, ranks)
        return ranks

    def _keep(self, rows: pa.Table, ranks: Ranks) -> None:
        least = self.entries[-1].score if len(self.entries) == self.limit else 0.0
        (candidates,) = np.nonzero(ranks.scores >= least)
        ids = rows["record_id"].take(pa.array(candidates))
        ties = hashes_of(ids)
        best = np.lexsort((ties, -ranks.scores[candidates]))[: self.limit]  # many may be alike
        new = [
            Entry(float(ranks.scores[row]), int(tie), record_id, ranks.reasons(row))
            for row, tie, record_id in zip(
                candidates[best], ties[best], ids.take(pa.array(best)).to_pylist(), strict=True
            )
        ]
        ordered = sorted([*self.entries, *new], key=lambda entry: (-entry.score, entry.tie))
        self.entries = ordered[: self.limit]


def _are_in(record_ids: pa.ChunkedArray, differing: Hashes) -> Mask:
    if not len(differing):
        return np.zeros(len(record_ids), bool)
    return np.isin(hashes_of(record_ids), differing)


def hashes_of(record_ids: pa.ChunkedArray) -> Hashes:
    """Digests of 8 bytes."""
    return np.fromiter(map(id_digest, record_ids.to_pylist()), np.uint64, len(record_ids))


def _differ(judged: Mapping[str, Mask], verdicts: pa.Array) -> Mask:
    """Whether a judgement, or the row's own verdict, is yes and another one no."""
    yes, no = (judged[verdict] | as_mask(pc.equal(verdicts, verdict)) for verdict in SIDES)
    return yes & no


def _judged(rows: pa.Table) -> tuple[dict[str, Mask], dict[str, Mask]]:
    """Whether some judgement is yes, and whether one is no: of support, and of all else."""
    if "judgements" not in rows.schema.names:
        return (dict.fromkeys(SIDES, np.zeros(len(rows), bool)),) * 2
    lists = rows["judgements"].combine_chunks()
    judgements = pc.list_flatten(lists)
    of_support = as_mask(pc.starts_with(judgements.field("rater"), f"judge:{OF_SUPPORT}"))
    values = {verdict: as_mask(pc.equal(judgements.field("value"), verdict)) for verdict in SIDES}
    supported = {verdict: _any(lists, is_it & of_support) for verdict, is_it in values.items()}
    answers = {verdict: _any(lists, is_it & ~of_support) for verdict, is_it in values.items()}
    return supported, answers


def _holds_unsupported(rows: pa.Table) -> Mask:
    if "claims" not in rows.schema.names:
        return np.zeros(len(rows), bool)
    lists = rows["claims"].combine_chunks()
    return _any(lists, as_mask(pc.equal(pc.list_flatten(lists).field("kind"), "unsupported")))


def _any(lists: pa.ListArray, found: Mask) -> Mask:
    """Which lists have an item that is found."""
    parents = pc.list_parent_indices(lists).to_numpy(zero_copy_only=False)
    return np.bincount(parents[found], minlength=len(lists)).astype(bool)


def as_mask(values: pa.Array | pa.ChunkedArray) -> Mask:
    flat = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    return np.asarray(pc.fill_null(flat, False).to_numpy(zero_copy_only=False), bool)
