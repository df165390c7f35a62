"""Why a selection has selected nothing: a column that no record has, or a value."""

from collections.abc import Iterator
from itertools import islice

from pipeline.answering.prepare import Prepared
from pipeline.config.selection import FIELDS
from pipeline.core.dotted import keys_to
from pipeline.core.errors import nearest
from pipeline.core.records import Record
from pipeline.core.text import plural
from pipeline.reading.source import read_items

LOOKED_AT = 1000
"""Records in which the columns of `--only` are looked for."""

_SHOWN = 60


def why_nothing(prepared: Prepared) -> Iterator[str]:
    """A line for each column of `--only` that no record has, or one that no record has the values.

    Reads the first records of the input; none, if everything was selected.
    """
    only = prepared.selection.only
    if not only:
        return
    items = read_items(prepared.listing.shards, prepared.job.input, prepared.storage)
    first = list(islice(items, LOOKED_AT + 1))
    records = [item for item in first[:LOOKED_AT] if isinstance(item, Record)]
    none_of = f"none of the first {plural(len(records), 'record')}"
    where = none_of if len(first) > LOOKED_AT else f"none of {plural(len(records), 'record')}"
    known = {"record_id", *FIELDS, *(name for record in records for name in record.extra)}
    unknown = [name for name in only if not _is_known(name, records)]
    for name in unknown:
        said = nearest(name, known)[:500]
        yield f"--only {name[:_SHOWN]}=…: {where} has this column{said}"
    if not unknown:
        pairs = (f"{n}={v}"[:_SHOWN] for n, values in only.items() for v in sorted(values))
        yield f"--only {' '.join(islice(pairs, 5))}: no record has this"


def _is_known(name: str, records: list[Record]) -> bool:
    if name in ("record_id", "id", "custom_id", *FIELDS):
        return True
    return any(keys_to(record.extra, name) for record in records)
