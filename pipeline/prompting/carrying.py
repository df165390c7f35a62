"""Marks the current records whose stored rows lack columns that the job carries."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.core.arrow import set_column, tally
from pipeline.core.carried import Carry, carried, comparable
from pipeline.core.extra import dump_extra
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
    table = _with_outdated(table, prompts, ledger, carry)
    return table if carry == "all" else pa.concat_tables([table, _names(table, prompts, carry)])


def _with_outdated(
    table: pa.Table, prompts: Sequence[Prompt], ledger: Ledger, carry: Carry
) -> pa.Table:
    is_settled = pc.and_(pc.not_equal(table["standing"], "work"), pc.is_null(table["extra"]))
    rows = np.flatnonzero(is_settled.to_numpy()).tolist()
    if not rows:
        return table
    ids, keys = (table[name].take(rows).to_pylist() for name in ("record_id", "generation_key"))
    columns = (comparable(prompts[row].record.extra, carry) for row in rows)
    known = contains(ledger.carrying, list(map(carrying_digest, ids, keys, columns)))
    outdated = [row for row, is_known in zip(rows, known, strict=True) if not is_known]
    if not outdated:
        return table
    extras = table["extra"].to_pylist()
    for row in outdated:
        extras[row] = dump_extra(prompts[row].record.extra)
    return set_column(table, "extra", extras)


def _names(table: pa.Table, prompts: Sequence[Prompt], carry: tuple[str, ...]) -> pa.Table:
    """A tally of the records that have each carried column, even if none has."""
    names = Counter(dict.fromkeys(carry, 0))
    for prompt in prompts:
        names.update(carried(prompt.record.extra, carry).keys())
    return set_column(tally(table.schema, {}), "extra", [orjson.dumps(names)])
