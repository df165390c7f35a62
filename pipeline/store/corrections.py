"""What people say about answers: the rows of `corrections/` in a store.

A correction is about one text: the answer of a record under a generation key, named by its SHA-256.
Rows are only ever added. No run, recheck or compaction touches them, so they outlive whatever
becomes of the answer; `pipeline.results.corrections` says which of them count.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from hashlib import sha256
from io import BytesIO
from typing import Final, NamedTuple, get_args

import pyarrow as pa

from pipeline.core.arrow import fields
from pipeline.core.filesystem import Location
from pipeline.core.records import Stance, Verdict
from pipeline.store.parts import read_parts, with_parts, write_part
from pipeline.store.reader import key_digest
from pipeline.store.schema import TIMESTAMP

CORRECTIONS_FOLDER = "corrections"

OF_CHECK: Final = "check:"
"""Begins the name of a field that is a check's verdict: `check:numbers`."""

CHECK_VALUES: Final = ("passed", "missed", "unsure")
"""What a person says that a check should have found."""

VALUES: Final[dict[str, tuple[str, ...] | None]] = {
    "answers_question": get_args(Verdict),
    "stance": get_args(Stance),
    "answer": None,
}
"""The fields besides those of checks, with the values that each may have; None: any text."""


class Correction(NamedTuple):
    """What one person says about one field of one answer. `at` is in UTC."""

    record_id: str
    generation_key: str
    answer_sha256: str  # hex, of the answer's UTF-8 text
    field: str
    value: str
    annotator: str
    at: datetime
    note: str = ""

    @property
    def digest(self) -> bytes:
        """Equal for equal corrections, and for no others."""
        return key_digest(*(str(cell).encode() for cell in self))


COLUMNS: Final = Correction._fields
"""The columns of a corrections file, and of the store's parts."""

CORRECTIONS: Final = pa.schema(
    [*fields(pa.string(), *COLUMNS[:6]), ("at", TIMESTAMP), ("note", pa.string())]
)


def answer_sha256(answer: str | None) -> str:
    """The digest that names a stored answer; a missing one counts as empty."""
    return sha256((answer or "").encode()).hexdigest()


def allowed_values(field: str) -> tuple[str, ...] | None:
    """The values that a field may have; None: any text. Raises `KeyError` for an unknown field."""
    return CHECK_VALUES if field.startswith(OF_CHECK) else VALUES[field]


def read_corrections(store: Location) -> list[Correction]:
    """All corrections of a store, each once, in order of time. Raises `StorageError`."""
    folder = store.join(CORRECTIONS_FOLDER)
    tables = with_parts(folder, lambda parts: [*read_parts(folder.fs, parts, COLUMNS)])
    unique = {
        Correction(*row)
        for rows in tables
        for row in zip(*(rows[name].to_pylist() for name in COLUMNS), strict=True)
    }
    return sorted(unique, key=lambda c: (c.at, c))


def add_corrections(
    store: Location, corrections: Iterable[Correction], append_only: bool = False
) -> Sequence[Correction]:
    """Stores the corrections that the store does not hold, as one part; returns these.

    The part appears whole or not at all, and no part is ever changed. It is named by what it holds:
    two processes that take in the same file write the same part. *Crash window:* a kill before the
    part appears leaves all as it was, and the same file can be taken in again.
    """
    known = {*read_corrections(store)}
    new = [c for c in dict.fromkeys(corrections) if c not in known]
    if new:
        name = key_digest(*sorted(c.digest for c in new)).hex()
        buffer = BytesIO()
        columns = zip(*new, strict=True)
        arrays = [pa.array(c, f.type) for c, f in zip(columns, CORRECTIONS, strict=True)]
        write_part(pa.table(arrays, schema=CORRECTIONS), buffer)
        part = store.join(CORRECTIONS_FOLDER, f"part-{name}.parquet")
        if append_only:
            with suppress(FileExistsError):  # by another process, or a request without a reply
                part.create(buffer.getvalue())
        else:
            part.write_whole(buffer.getvalue())
    return new
