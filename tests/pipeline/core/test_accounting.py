import pyarrow as pa
import pytest

from pipeline.core.accounting import Totals
from pipeline.core.arrow import PROMPTS, build, receipt, receipts_in, rejects_table, tally
from pipeline.core.errors import AccountingError
from pipeline.core.records import Place, Reject
from pipeline.store.schema import OUTCOMES


def totals(*rejects: Reject, **read: int) -> Totals:
    """Those of a table with these rejects, and with a count of what was read."""
    rows = rejects_table(rejects, PROMPTS)
    return Totals.of(pa.concat_tables([rows, tally(PROMPTS, read)]))


def reject(row: int) -> Reject:
    return Reject(f"r{row}", "invalid_json", "cut", Place("file:///a", row))


def test_records_read_and_records_that_arrive_have_to_agree():
    totals(reject(0), reject(1), read=2).check()
    with pytest.raises(AccountingError, match="3 records were read but 2 are accounted for"):
        totals(reject(0), reject(1), read=3).check()
    with pytest.raises(AccountingError, match="1 records were read but 2 are accounted for"):
        totals(reject(0), reject(1), read=1).check()


def test_totals_add_up_and_survive_their_receipt():
    whole = totals(reject(0), read=1, stored_bytes=4)
    whole.add(*receipts_in(receipt(totals(reject(1), read=1, stored_bytes=6))))
    assert (whole.counts["read"], whole.counts["rejected"]) == (2, 2)
    assert (whole.reasons["invalid_json"], whole.sums["stored_bytes"]) == (2, 10)
    whole.check()


def test_repairs_are_a_records_attempts_after_its_first():
    attempts = {"attempts": [[{"seconds": 1.0}] * n for n in (1, 3, 2)] + [None]}
    standings = {"standing": ["answered", "answered", "failed", "rejected"]}
    assert Totals.of(build(OUTCOMES, {**standings, **attempts}, 4)).sums["repairs"] == 2 + 1
    assert Totals.of(build(OUTCOMES, {}, 0)).sums["repairs"] == 0
    assert "repairs" not in totals(reject(0)).sums  # a table of prompts has no attempts yet


def test_an_empty_table_counts_nothing():
    assert Totals.of(pa.table([[] for _ in PROMPTS], schema=PROMPTS)).done == 0
