"""Marks the current records whose stored rows lack columns that the job carries."""

from collections import Counter
from collections.abc import Sequence

import orjson
import pyarrow as pa

from pipeline.core.arrow import dump_extra, set_column, tally
from pipeline.core.carried import Carry, carried, comparable
from pipeline.core.records import Prompt
from pipeline.store.ledger import Ledger, carrying_digest, contains


def with_carried(
    table: pa.Table, prompts: Sequence[Prompt], ledger: Ledger, carry: Carry
) -> pa.Table:
    """The prompts in `table`, of which a current one keeps its columns if the store lacks them.

    A tally says how many records have each column that has a name. Rows whose ids are still to be
    settled keep their columns in any case: what fills rows in compares them again.
    """
    if not carry:
        return table
    cells = (table[name].to_pylist() for name in ("standing", "record_id", "generation_key"))
    extras = table["extra"].to_pylist()
    current = [
        (row, carrying_digest(record_id, key, comparable(prompts[row].record.extra, carry)))
        for row, (standing, record_id, key) in enumerate(zip(*cells, strict=True))
        if standing != "work" and extras[row] is None
    ]
    known = contains(ledger.carrying, [digest for _, digest in current])
    for (row, _), is_known in zip(current, known, strict=True):
        if not is_known:
            extras[row] = dump_extra(prompts[row].record.extra)
    table = set_column(table, "extra", extras)
    return table if carry == "all" else pa.concat_tables([table, _names(table, prompts, carry)])


def _names(table: pa.Table, prompts: Sequence[Prompt], carry: tuple[str, ...]) -> pa.Table:
    """A tally of the records that have each carried column, even if none has."""
    names = Counter(dict.fromkeys(carry, 0))
    for prompt in prompts:
        names.update(carried(prompt.record.extra, carry).keys())
    return set_column(tally(table.schema, {}), "extra", [orjson.dumps(names)])
