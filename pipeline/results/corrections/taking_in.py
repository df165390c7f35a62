"""Takes a corrections file into a store, after every row of it has been checked.

rows ─ blank value ─▶ left out: nothing was said
  │ ─ fault ─▶ rejects, with line and reason; the other rows go in all the same
  └▶ corrections ─ not in the store yet ─▶ one new part
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.core.errors import nearest
from pipeline.core.filesystem import Location
from pipeline.core.text import harmless, quote
from pipeline.results.corrections.standing import stand
from pipeline.store.corrections import (
    OF_CHECK,
    VALUES,
    Correction,
    add_corrections,
    allowed_values,
    answer_sha256,
    read_corrections,
)
from pipeline.store.corrections_file import MODEL, FileRow, as_time
from pipeline.store.reader import BY_GENERATION, read_rows

MOST_AHEAD = timedelta(days=1)
"""How far a person's clock may be ahead. A time beyond it is a mistake, and nothing would ever be
newer."""

_COLUMNS = ("record_id", "generation_key", "model", "adapter", "answer", "checks.list.element.name")


class Rejected(NamedTuple):
    """A row that is no correction."""

    line: int
    why: str


class StoredAnswer(NamedTuple):
    """An answer that counts, as far as a correction can be about it."""

    generation_key: str
    model: str
    sha256: str
    checks: frozenset[str]


@dataclass(slots=True)
class TakenIn:
    """What became of the rows of a file."""

    added: Sequence[Correction] = ()
    known: int = 0  # the store held them already
    blank: int = 0
    stale: Sequence[Correction] = ()  # of the file's: about another text than the one that counts
    rejects: list[Rejected] = field(default_factory=list)


class _Fault(Exception):
    """Why a row is no correction."""


def take_in(
    store: Location,
    rows: Iterable[FileRow],
    checks: Set[str],
    now: datetime,
    defaults: Mapping[str, str] | None = None,
    append_only: bool = False,
) -> TakenIn:
    """Stores the corrections among a file's rows that the store does not hold yet.

    `checks` are names of checks that a correction may be about, besides those that the answer went
    through, and `defaults` fill empty cells by column. The same file twice adds nothing. Raises
    `StorageError`; then nothing is stored.
    """
    filled = [
        row._replace(cells={c: v or (defaults or {}).get(c, "") for c, v in row.cells.items()})
        for row in rows
    ]
    answers = _stored_answers(store, {row.cells.get("record_id", "") for row in filled})
    untimed = {c._replace(at=now) for c in read_corrections(store)}
    taken = TakenIn()
    corrections: list[Correction] = []
    for correction, has_time in _said(filled, answers, checks, now, taken):
        if has_time:
            corrections.append(correction)
        elif correction in untimed:
            taken.known += 1
        else:  # the lower of two rows is the newer
            later = timedelta(microseconds=len(corrections))
            corrections.append(correction._replace(at=correction.at + later))
    taken.added = add_corrections(store, corrections, append_only)
    taken.known += len(corrections) - len(taken.added)
    texts = {(r, a.generation_key): a.sha256 for r, found in answers.items() for a in found}
    taken.stale = stand(corrections, texts).stale
    return taken


def _said(
    rows: Iterable[FileRow],
    answers: Mapping[str, Sequence[StoredAnswer]],
    checks: Set[str],
    now: datetime,
    taken: TakenIn,
) -> Iterator[tuple[Correction, bool]]:
    """The rows that say something, and whether each says when; counts the others."""
    for row in rows:
        try:
            correction = _correction(row, answers, checks, now)
        except _Fault as fault:
            taken.rejects.append(Rejected(row.line, str(fault)))
            continue
        if correction is None:
            taken.blank += 1
        else:
            yield correction, bool(row.cells["at"].strip())


def _stored_answers(store: Location, ids: Set[str]) -> dict[str, list[StoredAnswer]]:
    """The answers that count of these records, by record."""
    wanted = pa.array(ids, pa.string())
    found: dict[str, list[StoredAnswer]] = defaultdict(list)
    for rows in read_rows(store, BY_GENERATION, _COLUMNS):
        for row in rows.filter(pc.is_in(rows["record_id"], wanted)).to_pylist():
            found[row["record_id"]].append(
                StoredAnswer(
                    row["generation_key"],
                    row["adapter"] or row["model"] or "",
                    answer_sha256(row["answer"]),
                    frozenset(check["name"] for check in row["checks"] or ()),
                )
            )
    return found


def _correction(
    row: FileRow, answers: Mapping[str, Sequence[StoredAnswer]], checks: Set[str], now: datetime
) -> Correction | None:
    """The correction in a row; None if it says nothing. Raises `_Fault`."""
    if row.fault:
        raise _Fault(row.fault)
    cells = row.cells
    if not cells["value"].strip():
        return None
    record_id = cells["record_id"]
    if record_id not in answers:
        said = f"no answer to {_shown(record_id)} in the store"
        raise _Fault(f"record_id: {said}" if record_id else "record_id: missing")
    answer = _answer(cells, answers[record_id])
    name = cells["field"]
    if not cells["annotator"]:
        raise _Fault("annotator: missing; name the person there, or with --annotator")
    return Correction(
        record_id,
        answer.generation_key,
        _digest(cells["answer_sha256"]) or answer.sha256,
        name,
        _value(name, cells["value"], answer.checks | checks),
        cells["annotator"],
        _time(cells["at"], now),
        cells["note"],
    )


def _answer(cells: Mapping[str, str], answers: Sequence[StoredAnswer]) -> StoredAnswer:
    """The one answer that a row names by its key, by its model, or by its record alone."""
    named = next((name for name in ("generation_key", MODEL) if cells[name]), None)
    found = [a for a in answers if named is None or getattr(a, named) == cells[named]]
    if len(found) == 1:
        return found[0]
    known = ", ".join(sorted({_shown(getattr(a, named or MODEL)) for a in answers}))
    if not found:
        raise _Fault(
            f"{named}: the store has no answer to this record under {_shown(cells[named or MODEL])}"
            f"; it has {known}"
        )
    raise _Fault(
        f"generation_key: missing, and the store has {len(found)} answers to this record; say "
        f"which one ({known})"
    )


def _value(name: str, value: str, checks: Set[str]) -> str:
    known = {*VALUES, *(OF_CHECK + check for check in checks)}
    if name not in known:
        what = "missing" if not name else f"{_shown(name)} is not known"
        raise _Fault(f"field: {what}{nearest(harmless(name), known)}")
    allowed = allowed_values(name)
    if allowed is None:
        return value
    plain = value.strip().lower()
    if plain not in allowed:
        raise _Fault(f"value: {_shown(value)} is not one of {', '.join(allowed)} ({name})")
    return plain


def _digest(text: str) -> str:
    digest = text.strip().lower()
    if digest and (len(digest) != 64 or set(digest) - set("0123456789abcdef")):
        raise _Fault(f"answer_sha256: {_shown(text)} is not 64 hex digits")
    return digest


def _time(text: str, now: datetime) -> datetime:
    try:
        time = as_time(text.strip()) if text.strip() else now.astimezone(UTC)
    except (ValueError, OverflowError):
        raise _Fault(f"at: {_shown(text)} is not a time such as 2026-11-29T10:15:00Z") from None
    if time > now + MOST_AHEAD:
        raise _Fault(f"at: {_shown(text)} is in the future")
    return time


def _shown(text: str) -> str:
    """A cell in a message: it is anybody's text."""
    return repr(harmless(quote(text)))
