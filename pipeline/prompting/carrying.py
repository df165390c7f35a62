"""Marks the current records whose stored rows lack columns that the job carries."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.core.arrow import PROMPTS, set_column, tally
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
    if carry == "all":
        return table
    return pa.concat_tables([table, carried_tally(carried_names(prompts, carry))])


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


def carried_names(prompts: Sequence[Prompt], carry: Carry) -> Counter[str]:
    """How many of the records have each column that the job carries by its name."""
    if carry == "all":
        return Counter()
    names = Counter(dict.fromkeys(carry, 0))
    for prompt in prompts if carry else ():
        names.update(carried(prompt.record.extra, carry).keys())
    return names


def carried_tally(names: Mapping[str, int]) -> pa.Table:
    """These numbers of records as a row of `PROMPTS`."""
    return set_column(tally(PROMPTS, {}), "extra", [orjson.dumps(names)])
