"""A prompt travels with all that an engine needs if there is work to do, else without its texts."""

from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.cluster.identities import Identities
from pipeline.config.schema import Answer
from pipeline.core.arrow import PROMPTS, build, split_work
from pipeline.core.records import Passage, Place, Record
from pipeline.prompting.render import to_prompts
from pipeline.prompting.template import load_prompt
from pipeline.store.ledger import Ledger, answer_digest
from pipeline.store.reader import as_digests
from tests.support.jobs import BETTER_PROMPT, job
from tests.support.shards import items_of

LONG = "heron " * 500
TEXTS = ("question", "passages", "messages", "recorded_answer", "boilerplate", "extra")


def record(number: int) -> Record:
    return Record(
        f"r{number}",
        Place("shard", number),
        "paper",
        question=LONG,
        passages=(Passage(LONG),) * 3,
        recorded_answer=LONG,
        extra={"note": LONG},
    )


def prompts(records: list[Record], ledger: Ledger) -> pa.Table:
    recorded = job("shards", "store", engine={"kind": "recorded"})
    source = load_prompt(BETTER_PROMPT, Answer())
    return to_prompts(items_of(*records), recorded, source, lambda: ledger, Identities())


def test_a_record_that_the_store_holds_travels_without_its_texts():
    records = [record(number) for number in range(20)]
    before, _ = split_work(prompts(records, Ledger.empty()))
    cells = (before[name].to_pylist()[::2] for name in ("record_id", "generation_key"))
    held = as_digests(sorted(map(answer_digest, *cells)))
    table = prompts(records, replace(Ledger.empty(), answered=held))
    current = table.filter(pc.equal(table["standing"], "current"))
    assert (current.num_rows, split_work(table)[0].num_rows) == (10, 10)
    for name in TEXTS:
        assert not any(current[name].to_pylist()), name
    assert all(current["identity"].to_pylist())
    assert current.combine_chunks().nbytes < 10 * 300


def test_work_travels_with_all_that_its_answer_needs():
    (row,) = split_work(prompts([record(1)], Ledger.empty()))[0].to_pylist()
    assert all(row[name] for name in TEXTS)


@settings(deadline=None)  # the first table of all takes its time
@given(st.lists(st.sampled_from(["work", "current", "rejected", "tally"])))
def test_work_is_split_off_in_its_order_wherever_it_stands(standings: list[str]):
    ids = [str(number) for number in range(len(standings))]
    table = build(PROMPTS, {"standing": standings, "record_id": ids}, len(ids))
    work, rest = (part["record_id"].to_pylist() for part in split_work(table))
    assert work == [i for i, standing in zip(ids, standings, strict=True) if standing == "work"]
    assert rest == [i for i, standing in zip(ids, standings, strict=True) if standing != "work"]


def test_work_that_stands_in_front_is_not_copied():
    table = prompts([record(1), record(2)], Ledger.empty())
    before = pa.total_allocated_bytes()
    work, _ = split_work(table)
    assert work.num_rows == 2
    assert pa.total_allocated_bytes() - before < len(LONG)
