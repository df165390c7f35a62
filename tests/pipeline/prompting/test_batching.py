"""Prompts become batches by paper, arranged if the job lets them be, under keys that stay."""

import random
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise

import pyarrow as pa

from pipeline.cluster.identities import Identities
from pipeline.cluster.reporter import Reporter
from pipeline.config.schema import Answer, Job
from pipeline.core.arrow import split_work, table_prompts, unpack
from pipeline.core.records import Passage, Place, Record, Reject
from pipeline.prompting.batching import to_batches
from pipeline.prompting.render import to_prompts
from pipeline.prompting.template import PromptSource, load_prompt
from pipeline.store.ledger import Ledger
from tests.support.jobs import BETTER_PROMPT, job
from tests.support.lengths import lengths_of
from tests.support.shards import items_of

ROWS = 10

Task = tuple[Job, PromptSource]


def record(number: int, letters: str, paper: str | None = "p") -> Record:
    """A record with a passage for each letter, forty times that letter."""
    return Record(
        f"r{number}",
        Place("shard", number),
        paper,
        f"q{number}",
        f"Why {number}?",
        tuple(Passage(letter * 40) for letter in letters),
        extra={"seen": number},
    )


def generating(passages: str, template: str = BETTER_PROMPT) -> Task:
    """A job for an engine that generates."""
    engine = {"kind": "openai", "model": "m", "options": {"base_url": "http://127.0.0.1:9/v1"}}
    prompt = {"template": template, "passages": passages}
    source = load_prompt(template, Answer())
    return job("shards", "store", ROWS, engine=engine, prompt=prompt), source


def batches(
    task: Task, items: Iterable[Record | Reject], reporter: Reporter | None = None
) -> list[pa.Table]:
    prompts = to_prompts(items_of(*items), *task, Ledger.empty, Identities())
    packed = to_batches(prompts, *task, 1, reporter or Reporter())
    return [unpack(packed.slice(at, 1)) for at in range(packed.num_rows)]


def keys(task: Task, record_: Record) -> set[tuple[str, str]]:
    work, _ = split_work(to_prompts(items_of(record_), *task, Ledger.empty, Identities()))
    return {(p.prompt_key, p.generation_key) for p in table_prompts(work)}


def texts(batch: pa.Table) -> dict[str, str]:
    """The last message of each prompt, by its record's id."""
    prompts = table_prompts(split_work(batch)[0])
    return {prompt.record.record_id: prompt.messages[-1].content for prompt in prompts}


def test_the_order_of_passages_is_part_of_a_key_unless_it_is_free():
    one, other = record(1, "abc"), record(1, "cab")
    assert keys(generating("shared_first"), one) == keys(generating("shared_first"), other)
    assert keys(generating("as_given"), one) != keys(generating("as_given"), other)


def test_another_passage_makes_another_key_in_any_order():
    task = generating("shared_first")
    assert keys(task, record(1, "abc")) != keys(task, record(1, "abd"))


def test_common_passages_come_first_and_keys_stay():
    task = generating("shared_first")
    records = {r.record_id: r for r in (record(1, "xa"), record(2, "ya"), record(3, "za"))}
    (batch, _) = batches(task, records.values())
    for prompt in table_prompts(split_work(batch)[0]):
        first, second = prompt.record.passages
        assert first.text == "a" * 40
        text = prompt.messages[-1].content
        assert text.index(first.text) < text.index(second.text)
        original = records[prompt.record.record_id]
        assert (prompt.prompt_key, prompt.generation_key) in keys(task, original)


def test_a_template_keeps_its_own_columns_when_passages_move(tmp_path):
    template = tmp_path / "trial.md"
    template.write_text(
        "---\nname: t\nversion: 1\n---\n"
        "{% for p in passages %}{{ p.text }}{% endfor %} {{ extra.seen }}\n"
    )
    task = generating("shared_first", str(template))
    (batch, _) = batches(task, [record(1, "xa"), record(2, "ya")])
    assert texts(batch) == {"r1": "a" * 40 + "x" * 40 + " 1", "r2": "a" * 40 + "y" * 40 + " 2"}


def test_a_prompt_stays_as_it_was_if_the_template_fails_on_another_order(tmp_path):
    template = tmp_path / "trial.md"
    template.write_text("---\nname: t\nversion: 1\n---\n{{ extra[passages[0].text] }}\n")
    task = generating("shared_first", str(template))
    extra = {"a" * 40: "one", "b" * 40: "two"}
    records = [replace(record(n, letters), extra=extra) for n, letters in enumerate(("ac", "bc"))]
    (batch, _) = batches(task, records)
    assert sorted(texts(batch).values()) == ["one", "two"]


def test_papers_stay_together_and_no_batch_is_larger_than_a_part():
    records = [record(n, "ab", f"paper-{n % 3}") for n in range(21)]
    tables = batches(generating("as_given"), records)
    assert max(table.num_rows for table in tables) <= ROWS
    ids = [r for table in tables for r in table["record_id"].drop_null().to_pylist()]
    assert sorted(ids) == sorted(r.record_id for r in records)
    papers = [p for table in tables for p in table["paper_id"].drop_null().to_pylist()]
    assert sum(one != other for one, other in pairwise(papers)) == 2


def test_records_without_a_paper_are_groups_of_their_own():
    tables = batches(generating("shared_first"), [record(n, "ab", None) for n in range(5)])
    assert sum(table.num_rows for table in tables if "work" in table["standing"].to_pylist()) == 5


def test_rows_that_are_no_work_ride_along():
    reject = Reject("bad", "invalid_json", "line 1", Place("shard", 0), b"{")
    tables = batches(generating("as_given"), [record(1, "a"), reject])
    rows = [row for table in tables for row in table.to_pylist()]
    standings = [row["standing"] for row in rows]
    assert standings.count("work") == standings.count("rejected") == 1
    assert sum(row["read"] or 0 for row in rows) == 2
    (rejected,) = [row for row in rows if row["standing"] == "rejected"]
    assert rejected["payload"] == b"{"


def test_an_engine_without_a_model_gets_records_in_the_order_of_the_input():
    extractive = job("shards", "store", ROWS), load_prompt(BETTER_PROMPT, Answer())
    records = [record(n, "ab", f"paper-{n % 3}") for n in range(21)]
    tables = batches(extractive, records)
    assert [split_work(table)[0].num_rows for table in tables] == [10, 10, 1]
    ids = [r for table in tables for r in split_work(table)[0]["record_id"].to_pylist()]
    assert ids == [r.record_id for r in records]


def test_batches_do_not_depend_on_the_order_in_which_a_shuffle_returns_rows():
    task = generating("shared_first")
    items = [
        *(record(n, "abcd"[: n % 4 + 1], f"paper-{n % 3}") for n in range(40)),
        *(Reject(f"bad{n}", "invalid_json", "", Place("shard", n)) for n in range(15)),
    ]
    tables = [
        to_prompts(items_of(*items[at::12], stored_bytes=at), *task, Ledger.empty, Identities())
        for at in range(12)
    ]
    prompts = pa.concat_tables(tables)
    order = list(range(prompts.num_rows))
    random.Random(3).shuffle(order)
    assert to_batches(prompts.take(order), *task, 4).equals(to_batches(prompts, *task, 4))


def test_work_that_no_replica_will_begin_counts_as_not_read():
    class Ending(Reporter):
        def is_ending(self) -> bool:
            return True

    items = [record(n, "abc") for n in range(3)]
    tables = batches(generating("shared_first"), items, Ending())
    rows = [row for table in tables for row in table.to_pylist()]
    assert {row["standing"] for row in rows} == {"tally"}
    assert sum(row["read"] for row in rows) == 0


def test_papers_whose_answers_were_long_in_earlier_runs_come_first():
    task = generating("as_given")
    records = [record(n, "ab", f"paper-{n % 3}") for n in range(9)]
    prompts = to_prompts(items_of(*records), *task, Ledger.empty, Identities())
    earlier = lengths_of(["r4", "r0", "r2"], ["Why 4?", "Why 0?", "Why 2?"], [9000, 10, 10])
    known = to_batches(prompts, *task, 0, lengths=lambda: earlier)
    unknown = to_batches(prompts, *task, 0)
    assert papers_in(known) == ["paper-1", "paper-0", "paper-2"]
    assert papers_in(unknown) == ["paper-0", "paper-1", "paper-2"]


def papers_in(packed: pa.Table) -> list[str]:
    """The papers of packed batches, in order."""
    tables = [unpack(packed.slice(at, 1)) for at in range(packed.num_rows)]
    return list(dict.fromkeys(p for t in tables for p in t["paper_id"].drop_null().to_pylist()))


def test_batches_without_passages_are_otherwise_the_same():
    task = generating("as_given")
    items = [record(n, "abcdefgh"[n % 3 :]) for n in range(20)]
    found = []
    for kept in (True, False):
        prompts = to_prompts(
            items_of(*items), *task, Ledger.empty, Identities(), keeps_passages=kept
        )
        packed = to_batches(prompts, *task, 1)
        found.append(pa.concat_tables(unpack(packed.slice(n, 1)) for n in range(packed.num_rows)))
    whole, small = found
    assert small.drop_columns("passages").equals(whole.drop_columns("passages"))
    texts = sum(len(passage.text) for item in items for passage in item.passages)
    assert small.nbytes < whole.nbytes - texts
    work, _ = split_work(small)
    assert [prompt.record.passages for prompt in table_prompts(work)] == [()] * len(items)
