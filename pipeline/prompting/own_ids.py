"""Ids of their own for records that share one with other content, so that no answer is lost.

A record of a shared id is stored under `<id>@<8 hex digits of a digest of its place>`. What the
store holds is never generated again for that, so an answer keeps its id where it can:

- A record whose answer the store holds under the plain id stays there, as long as no other record
  of that id does: so a folder that is added costs only its own answers, and a first run that met
  one of two records, under `--only` or `--limit`, is not done twice. An answer that is not the
  newest under its id cannot stay: readers would be shown the other one in its place.
- Where files have moved, the store's answer for the same id and generation key counts wherever it
  came from, unless the record at that place still stands there.

Rendering decides what it can. What depends on records that are still to be read is settled once
all of them have been. In a flow that does not wait for that, the first that asks for a plain id has
it, and all others of that id get their own. Prompts are rendered with the id that the user gave.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.cluster.counters import StageCounts
from pipeline.cluster.identities import Identities, Numbers
from pipeline.cluster.limit import Limit
from pipeline.cluster.reporter import Reporter
from pipeline.core.arrow import build, first_of_work, prompts_table, set_column, split_work
from pipeline.core.identity import Rows, as_identities, id_digest, identities_in
from pipeline.core.own_id import OWN_SUFFIX, Named, own_id
from pipeline.core.records import Place, Prompt, Standing
from pipeline.store.ledger import Ledger, answer_digest, contains

Mask = npt.NDArray[np.bool_]

UNSETTLED: tuple[Standing, ...] = ("work", "current", "current_failed")

SETTLED_BY = (
    *("standing", "read", "stored_bytes", "record_id", "paper_id", "paper", "generation_key"),
    *("source_uri", "source_row", "identity"),
)
"""Columns of `PROMPTS` that decide the id of a record, and those that change with it."""

_KEPT_OF_COPIES = ("record_id", "paper", "source_uri", "source_row", "identity")


class Known(NamedTuple):
    """The id of a record, and its standing against the store under this id."""

    record_id: str
    standing: Standing
    is_open: bool = False  # to be settled: its texts may be needed then


@dataclass(frozen=True, slots=True)
class Stored:
    """What the store holds under the ids that users gave; each field has one entry a record."""

    answers: Sequence[bytes]
    standings: Sequence[Standing]
    held: Mask  # an answer under its plain id
    newest: Mask  # and no newer one under that id

    @classmethod
    def of(cls, record_ids: Sequence[str], keys: Sequence[str], ledger: Ledger) -> Self:
        answers = list(map(answer_digest, record_ids, keys))
        in_store = (contains(digests, answers) for digests in (ledger.answered, ledger.failed))
        held = np.logical_or(*(np.array(mask, bool) for mask in in_store))
        superseded = np.array(contains(ledger.superseded, answers), bool)
        return cls(answers, standings(answers, ledger), held, held & ~superseded)


def standings(answers: Sequence[bytes], ledger: Ledger) -> list[Standing]:
    """What answers are to the store, by their digests."""
    sets = (ledger.answered, ledger.failed, ledger.again)
    return [
        "current" if answered else "current_failed" if failed and not again else "work"
        for answered, failed, again in zip(*(contains(s, answers) for s in sets), strict=True)
    ]


def known_prompts(
    prompts: Sequence[Prompt],
    rows: Rows,
    ledger: Ledger,
    index: Identities,
    keeps_passages: bool = True,
) -> pa.Table:
    """Prompts as `PROMPTS`, under the ids that the store has for them as far as that is known."""
    ids = [prompt.record.record_id for prompt in prompts]
    stored = Stored.of(ids, [prompt.generation_key for prompt in prompts], ledger)
    keeps = stored.newest.copy()
    if keeps.any():
        keeps[keeps] = index.claim(rows[0][keeps], rows[1][keeps])
    has_own = np.isin(rows[0], ledger.own.ids)
    if has_own.any():  # nobody else may take the id of a place where a record stands
        own = [id_digest(_own_id(prompts[at])) for at in np.flatnonzero(has_own)]
        index.claim(np.array(own, np.uint64), rows[1][has_own])
    known = list(map(Known, ids, stored.standings))
    for at in np.flatnonzero(has_own | (stored.held & ~keeps)):
        known[at] = _known(prompts[at], known[at], stored, int(at), bool(keeps[at]), ledger)
    return _table(prompts, rows, known, keeps_passages)


def _known(
    prompt: Prompt, plain: Known, stored: Stored, at: int, keeps: bool, ledger: Ledger
) -> Known:
    """A record's id, if it is not simply the plain one; `keeps` if it has an answer under that."""
    own = _own_id(prompt)
    like = ledger.own.like(plain.record_id, stored.answers[at])
    if own in like:
        return _under(own, prompt.generation_key, ledger)
    if keeps:
        return plain
    if stored.held[at] and not stored.newest[at]:
        return plain._replace(is_open=True)
    if _newest(like, prompt.generation_key, ledger):
        return Known(plain.record_id, "current", is_open=True)
    return Known(own, "work")


def _newest(record_ids: Sequence[str], generation_key: str, ledger: Ledger) -> list[str]:
    """Those ids under which an answer that the store holds is the newest."""
    answers = [answer_digest(record_id, generation_key) for record_id in record_ids]
    is_old = contains(ledger.superseded, answers)
    return [record_id for record_id, old in zip(record_ids, is_old, strict=True) if not old]


def _own_id(prompt: Prompt) -> str:
    return own_id(prompt.record.record_id, prompt.record.place)


def _under(record_id: str, generation_key: str, ledger: Ledger) -> Known:
    (standing,) = standings([answer_digest(record_id, generation_key)], ledger)
    return Known(record_id, standing)


def _table(
    prompts: Sequence[Prompt], rows: Rows, known: Sequence[Known], keeps_passages: bool
) -> pa.Table:
    named = [
        prompt
        if prompt.record.record_id == record_id
        else replace(prompt, record=replace(prompt.record, record_id=record_id))
        for prompt, (record_id, _, _) in zip(prompts, known, strict=True)
    ]
    with_texts: list[Standing] = ["work" if k.is_open else k.standing for k in known]
    table = prompts_table(named, with_texts, keeps_passages)
    table = set_column(table, "standing", [k.standing for k in known])
    return set_column(table, "identity", as_identities(rows))


@dataclass(frozen=True, slots=True)
class Settler:
    """Stage: prompts under the ids that they are stored with, and without identical copies.

    Takes tables that have at least the columns `SETTLED_BY`. What becomes work only here counts
    against the limit too. `waits` if all records have been read before the first table comes.
    """

    ledger: Callable[[], Ledger]
    index: Identities
    limit: Limit | None = None
    reporter: Reporter = Reporter()  # noqa: RUF009  it has no state
    waits: bool = True

    def __call__(self, prompts: pa.Table) -> pa.Table:
        settled = self._settled(prompts)
        return settled if self.waits else self._first_come(settled)

    def _first_come(self, prompts: pa.Table) -> pa.Table:
        """Work whose plain id another record has taken, under ids of its own."""
        is_plain = pc.invert(pc.match_substring_regex(prompts["record_id"], OWN_SUFFIX.pattern))
        is_work = pc.equal(prompts["standing"], "work")
        asking = np.flatnonzero(pc.fill_null(pc.and_(is_plain, is_work), False).to_numpy())
        ids, contents, _ = identities_in(prompts["identity"].take(pa.array(asking)))
        late = asking[~self.index.claim(ids, contents)]
        if not len(late):
            return prompts
        rest = prompts.take(pa.array(np.delete(np.arange(prompts.num_rows), late)))
        return pa.concat_tables([rest, self._under_own(prompts.take(pa.array(late)))])

    def _under_own(self, table: pa.Table) -> pa.Table:
        columns = ("record_id", "source_uri", "source_row", "generation_key")
        known = [
            _under(own_id(id_, Place(uri, row)), key, self.ledger())
            for id_, uri, row, key in zip(*(_cells(table, c) for c in columns), strict=True)
        ]
        return _renamed(table, known)

    def _settled(self, prompts: pa.Table) -> pa.Table:
        shared, copies = self.index.conflicts()
        with_own = self.ledger().own.ids
        if not (len(shared) or len(copies) or len(with_own)):
            return prompts
        rows = identities_in(prompts["identity"])
        is_copy = np.isin(rows[2], copies)
        is_record = pc.is_in(prompts["standing"], pa.array(UNSETTLED)).to_numpy()
        is_shared = np.isin(rows[0], shared)
        is_open = is_record & ~is_copy & (is_shared | np.isin(rows[0], with_own))
        if not (is_copy.any() or is_open.any()):
            return prompts
        rest, copies_, before = (
            prompts.filter(pa.array(mask)) for mask in (~(is_copy | is_open), is_copy, is_open)
        )
        after = self._settle(before, rows[:, is_open], is_shared[is_open])
        self.index.name((), _named(_cells(copies_, "record_id"), copies_))
        return pa.concat_tables([rest, self._within_limit(before, after), _without_texts(copies_)])

    def _settle(self, table: pa.Table, rows: Rows, is_shared: Mask) -> pa.Table:
        """Records that may not all have the id that the user gave them, under their final ids."""
        ids, keys = _cells(table, "record_id"), _cells(table, "generation_key")
        is_plain = np.array([id_digest(id_) for id_ in ids], np.uint64) == rows[0]
        stored, ledger = Stored.of(ids, keys, self.ledger()), self.ledger()
        known = list(map(Known, ids, _cells(table, "standing")))
        places = list(map(Place, _cells(table, "source_uri"), _cells(table, "source_row")))
        seeking = np.flatnonzero(is_plain & ~stored.newest).tolist()
        candidates = {
            at: _newest(ledger.own.like(ids[at], stored.answers[at]), keys[at], ledger)
            for at in seeking
        }
        adopted = self._adopted(candidates, rows[1])
        for at in seeking:
            if at in adopted:
                known[at] = _under(adopted[at], keys[at], ledger)
            elif is_shared[at] or not stored.held[at]:
                known[at] = Known(own_id(ids[at], places[at]), "work")
        users = [id_ if plain else id_[:-9] for id_, plain in zip(ids, is_plain, strict=True)]
        table = _renamed(table, known)
        named = _named(users, table)
        self.index.name([n for n, shared in zip(named, is_shared, strict=True) if shared], ())
        return table

    def _adopted(
        self, candidates: Mapping[int, Sequence[str]], contents: Numbers
    ) -> dict[int, str]:
        """For rows by their number, the first of the stored ids that no other content has."""
        adopted: dict[int, str] = {}
        for turn in count():
            asking = {
                at: like[turn]
                for at, like in candidates.items()
                if at not in adopted and turn < len(like)
            }
            if not asking:
                break
            ids = np.array([id_digest(id_) for id_ in asking.values()], np.uint64)
            granted = self.index.claim(ids, contents[list(asking)])
            adopted |= {a: i for (a, i), yes in zip(asking.items(), granted, strict=True) if yes}
        return adopted

    def _within_limit(self, before: pa.Table, after: pa.Table) -> pa.Table:
        """The settled rows, with no more of what has become work than may be worked on."""
        became = pc.and_(
            pc.equal(after["standing"], "work"), pc.not_equal(before["standing"], "work")
        )
        new, rest = after.filter(became), after.filter(pc.invert(became))
        if self.limit:
            new = first_of_work(new, self.limit.take(new.num_rows))
        more = split_work(new)[0].num_rows
        self.reporter.counted(StageCounts(current=-became.to_numpy().sum(), work=more))
        return pa.concat_tables([rest, new])


def _renamed(table: pa.Table, known: Sequence[Known]) -> pa.Table:
    table = set_column(table, "record_id", [k.record_id for k in known])
    table = set_column(table, "standing", [k.standing for k in known])
    return with_papers(table)


def with_papers(table: pa.Table) -> pa.Table:
    """The rows with the paper of each. Where there is none, equal prompts belong together; a reject
    has its own id.
    """
    columns = (table[name] for name in ("paper_id", "generation_key", "record_id"))
    return set_column(table, "paper", pc.coalesce(*columns))


def _cells(table: pa.Table, name: str) -> list[Any]:
    cells: list[Any] = table[name].to_pylist()
    return cells


def _named(users: Sequence[str], table: pa.Table) -> list[Named]:
    """Rows as examples, with the ids that users gave them."""
    columns = (_cells(table, name) for name in ("source_uri", "source_row", "record_id"))
    return list(map(Named, users, *columns))


def _without_texts(copies: pa.Table) -> pa.Table:
    columns = {name: copies[name] for name in _KEPT_OF_COPIES}
    standing: Standing = "identical"
    return build(
        copies.schema,
        {**columns, "standing": pa.repeat(standing, copies.num_rows)},
        copies.num_rows,
    )
