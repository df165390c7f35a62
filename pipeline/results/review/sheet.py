"""A reading sheet: drawn answers with what it takes to judge them, and cells to fill in.

Filled in, it is a corrections file. An answer has a row for `answers_question` and one for each
check that flagged it.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.core.errors import ConfigError, StorageError, nearest
from pipeline.core.filesystem import Location, Storage
from pipeline.results.differing import BY_MODEL, differing_records
from pipeline.results.export.files import XLSX, export_table
from pipeline.results.export.writers import write_raw_csv
from pipeline.results.pages.answers import model_name
from pipeline.results.review.sampling import (
    COLUMNS,
    Drawn,
    Reservoirs,
    Strata,
    shared_out,
    strata_of,
)
from pipeline.store.corrections import COLUMNS as CORRECTION
from pipeline.store.corrections import OF_CHECK, allowed_values, answer_sha256
from pipeline.store.reader import read_rows

CSV = ".csv"
FORMATS = (CSV, XLSX)

OF_ANSWER = "answers_question"

SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("paper", "question", "answer", "flagged", "allowed")),
        *((name, pa.string()) for name in ("value", "note", "annotator")),
        *((name, pa.string()) for name in CORRECTION if name not in ("value", "note", "annotator")),
        *((name, pa.string()) for name in ("model", "stratum")),
        ("weight", pa.float64()),
        ("prompt", pa.string()),
    ]
)

MAX_CHARACTERS = 30_000
"""Characters of a text in a cell: a sheet has no room for more."""

_SHOWN = (
    "record_id",
    "generation_key",
    "paper_id",
    "question",
    "answer",
    "messages",
    "checks",
    "claims",
    "model",
    "model_revision",
    "adapter",
)
_FORMULA = r"\A('*[=+@\t\r\n＝＋－＠-])"


def check_format(to: str) -> None:
    """Raises `ConfigError` if the file's extension names no format of a reading sheet."""
    extension = PurePosixPath(to).suffix.lower()
    if extension not in FORMATS:
        raise ConfigError(
            f"--to {to}: --review writes only {', '.join(FORMATS)}{nearest(extension, FORMATS)}"
        )


class Sheet(NamedTuple):
    """What a sheet holds."""

    answers: int
    rows: int


def write_sheet(store: Location, to: str, storage: Storage, wanted: int, seed: int) -> Sheet:
    """Writes a sheet of this many answers, or of all if there are fewer.

    Of every record it knows each model's newest answer. Raises `ConfigError` for an unknown
    extension, `StorageError` if answers that were drawn are gone before they are read.
    """
    check_format(to)
    drawn = draw(store, wanted, seed)
    table = pa.Table.from_pylist(list(_rows(store, drawn)), schema=SCHEMA)
    is_csv = PurePosixPath(to).suffix.lower() == CSV
    export_table(_escaped(table) if is_csv else table, to, storage, write_raw_csv)
    return Sheet(len(drawn), table.num_rows)


def draw(store: Location, wanted: int, seed: int) -> list[Drawn]:
    """The sample, in three passes over small columns."""
    differing = differing_records(store)
    strata = Strata(wanted)
    for rows in read_rows(store, BY_MODEL, COLUMNS):
        strata.add(strata_of(rows, differing))
    sizes = strata.sizes
    reservoirs = Reservoirs(shared_out(sizes, wanted), seed)
    for rows in read_rows(store, BY_MODEL, COLUMNS):
        reservoirs.add(rows, strata_of(rows, differing))
    return list(reservoirs.drawn(sizes))


def _rows(store: Location, drawn: Sequence[Drawn]) -> Iterator[dict[str, Any]]:
    ids = pa.array({d.record_id for d in drawn}, pa.string())
    found = {
        (row["record_id"], row["generation_key"]): row
        for rows in read_rows(store, BY_MODEL, _SHOWN)
        for row in rows.filter(pc.is_in(rows["record_id"], ids)).to_pylist()
    }
    for one in drawn:
        row = found.get((one.record_id, one.generation_key))
        if row is None:
            raise StorageError(
                f"{store.uri}: a run has stored other answers since the export began; export again"
            )
        yield from _rows_of(row, one)


def _rows_of(row: Mapping[str, Any], drawn: Drawn) -> Iterator[dict[str, Any]]:
    shown = {
        "paper": row["paper_id"],
        "question": row["question"],
        "answer": row["answer"],
        "model": model_name(row),
        "stratum": " · ".join(drawn.stratum),
        "prompt": "\n\n".join(message["content"] for message in row["messages"] or ()),
    }
    common = {
        **{name: _shortened(text or "") for name, text in shown.items()},
        "record_id": row["record_id"],
        "generation_key": row["generation_key"],
        "answer_sha256": answer_sha256(row["answer"]),
        "weight": drawn.weight,
    }
    yield {**common, "field": OF_ANSWER, "allowed": _choices(OF_ANSWER)}
    for check in row["checks"] or ():
        if not check["passed"]:
            field = OF_CHECK + check["name"]
            flagged = _shortened(_flagged(row, check))
            yield {**common, "field": field, "allowed": _choices(field), "flagged": flagged}


def _choices(field: str) -> str:
    if field.startswith(OF_CHECK):
        return "missed: the flag is right / passed: it is wrong / unsure"
    return " / ".join(allowed_values(field) or ())


def _flagged(row: Mapping[str, Any], check: Mapping[str, Any]) -> str:
    """What a check found: the items that it took exception to, then its evidence."""
    items = [
        claim["text"]
        for claim in row["claims"] or ()
        if claim["check"] == check["name"] and claim["kind"] == "unsupported"
    ]
    return "\n".join([*dict.fromkeys(items), check["evidence"] or ""]).strip()


def _shortened(text: str) -> str:
    more = len(text) - MAX_CHARACTERS
    return f"{text[:MAX_CHARACTERS]} … and {more:,} more characters" if more > 0 else text


def _escaped(table: pa.Table) -> pa.Table:
    """Cells that would run as formulas, with an apostrophe that the reader takes off again."""
    columns = [
        pc.replace_substring_regex(column, _FORMULA, r"'\1")
        if pa.types.is_string(column.type)
        else column
        for column in table.columns
    ]
    return pa.table(columns, schema=table.schema)
