"""Tables of prompts for engines that generate: by paper, arranged, under keys that stay."""

import asyncio
import json
import random
from dataclasses import replace
from itertools import pairwise

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pipeline.answering.prepare import prepare
from pipeline.answering.replica import BatchWorker
from pipeline.cluster.reporter import NullReporter
from pipeline.config.schema import Job
from pipeline.core.arrow import items_table, split_work, table_prompts, unpack
from pipeline.core.errors import ConfigError
from pipeline.core.records import Passage, Place, Record, Reject, Tally
from pipeline.prompting.batching import to_batches
from pipeline.prompting.render import to_prompts
from pipeline.prompting.template import PromptSource, load_prompt
from pipeline.store.ledger import Ledger
from tests.support.jobs import job

ROWS = 10


def record(number: int, letters: str, paper: str | None = "p") -> Record:
    passages = tuple(Passage(letter * 40) for letter in letters)
    return Record(
        f"r{number}",
        Place("shard", number),
        paper,
        f"q{number}",
        f"Why {number}?",
        passages,
        extra={"seen": number},
    )


def night(passages: str, template: str = "", **sections) -> tuple[Job, PromptSource]:
    engine = {"kind": "openai", "model": "m", "options": {"base_url": "http://127.0.0.1:9/v1"}}
    made = job("shards", "store", ROWS, engine=engine, **sections)
    chosen = {"template": template or made.prompt.template, "passages": passages}
    made = Job.model_validate({**made.model_dump(), "prompt": chosen})
    return made, load_prompt(made.prompt.template, 399)


def tables(made: tuple[Job, PromptSource], items) -> list[pa.Table]:
    prompts = to_prompts(items_table(items), *made, Ledger.empty)
    packed = to_batches(prompts, *made, 1, 0)
    return [unpack(packed.slice(at, 1)) for at in range(packed.num_rows)]


def keys(made: tuple[Job, PromptSource], held: Record) -> set[tuple[str, str]]:
    work, _ = split_work(to_prompts(items_table([held]), *made, Ledger.empty))
    return {(p.prompt_key, p.generation_key) for p in table_prompts(work)}


def test_the_order_of_passages_is_part_of_a_key_only_where_it_is_not_free():
    one, other = record(1, "abc"), record(1, "cab")
    assert keys(night("shared_first"), one) == keys(night("shared_first"), other)
    assert keys(night("as_given"), one) != keys(night("as_given"), other)


def test_another_passage_is_another_key_in_any_order():
    assert keys(night("shared_first"), record(1, "abc")) != keys(
        night("shared_first"), record(1, "abd")
    )


def test_common_passages_come_first_and_keys_stay():
    made = night("shared_first")
    held = [record(1, "xa"), record(2, "ya"), record(3, "za")]
    (table,) = tables(made, held)
    for prompt in table_prompts(split_work(table)[0]):
        assert prompt.record.passages[0].text == "a" * 40
        text = prompt.messages[-1].content
        assert text.index("a" * 40) < text.index(prompt.record.passages[1].text)
        (source,) = [r for r in held if r.record_id == prompt.record.record_id]
        assert (prompt.prompt_key, prompt.generation_key) in keys(made, source)


def test_a_template_keeps_its_own_columns_when_passages_move(tmp_path):
    template = tmp_path / "trial.md"
    template.write_text(
        "---\nname: t\nversion: 1\n---\n"
        "{% for p in passages %}{{ p.text }}{% endfor %} {{ extra.seen }}\n"
    )
    made = night("shared_first", str(template))
    (table,) = tables(made, [record(1, "xa"), record(2, "ya")])
    said = {p.record.record_id: p.messages[0].content for p in table_prompts(split_work(table)[0])}
    assert said == {"r1": "a" * 40 + "x" * 40 + " 1", "r2": "a" * 40 + "y" * 40 + " 2"}


def test_a_prompt_stays_as_it_was_where_the_template_cannot_bear_another_order(tmp_path):
    template = tmp_path / "trial.md"
    template.write_text("---\nname: t\nversion: 1\n---\n{{ extra[passages[0].text] }}\n")
    made = night("shared_first", str(template))
    known = {"a" * 40: "one", "b" * 40: "two"}
    held = [replace(record(n, letters), extra=known) for n, letters in enumerate(("ac", "bc"))]
    (table,) = tables(made, held)
    said = sorted(p.messages[0].content for p in table_prompts(split_work(table)[0]))
    assert said == ["one", "two"]


def test_papers_stay_together_and_no_table_is_too_large():
    held = [record(n, "ab", f"paper-{n % 3}") for n in range(21)]
    made = tables(night("as_given"), held)
    assert max(table.num_rows for table in made) <= ROWS
    assert sorted(r for t in made for r in t["record_id"].drop_null().to_pylist()) == sorted(
        r.record_id for r in held
    )
    papers = [p for table in made for p in table["paper_id"].drop_null().to_pylist()]
    assert sum(one != other for one, other in pairwise(papers)) == 2


def test_records_without_a_paper_are_groups_of_their_own():
    held = [record(n, "ab", None) for n in range(5)]
    made = tables(night("shared_first"), held)
    assert sum(table.num_rows for table in made if "work" in table["standing"].to_pylist()) == 5


def test_what_is_no_work_rides_along():
    reject = Reject("bad", "invalid_json", "line 1", Place("shard", 0), b"{")
    made = tables(night("as_given"), [record(1, "a"), reject, Tally(2, 10)])
    rows = [row for table in made for row in table.to_pylist()]
    standings = [row["standing"] for row in rows]
    assert standings.count("work") == standings.count("rejected") == 1
    assert sum(row["read"] or 0 for row in rows) == 2
    (kept,) = [row for row in rows if row["standing"] == "rejected"]
    assert kept["payload"] == b"{"


def test_an_engine_that_quotes_gets_its_tables_as_they_come():
    made = job("shards", "store", ROWS)
    source = load_prompt(made.prompt.template, 399)
    held = [record(n, "ab", f"paper-{n % 3}") for n in range(21)]
    got = tables((made, source), held)
    assert [table.num_rows for table in got] == [10, 10, 1]
    assert [r for t in got for r in t["record_id"].to_pylist()] == [r.record_id for r in held]


def test_verbatim_prompts_cannot_be_arranged(tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps({"prompt": "Why?"}))
    made, _ = night("as_given")
    asked = made.model_dump()
    asked["input"]["uri"], asked["output"]["uri"] = str(tmp_path / "a.jsonl"), str(tmp_path / "s")
    asked["prompt"] = {"template": "verbatim", "passages": "shared_first"}
    with pytest.raises(ConfigError, match=r"prompt\.passages: shared_first needs a template"):
        prepare(Job.model_validate(asked))


def test_tables_are_the_same_in_whatever_order_a_shuffle_hands_their_rows_on():
    made = night("shared_first")
    items = [
        *(record(n, "abcd"[: n % 4 + 1], f"paper-{n % 3}") for n in range(40)),
        *(Reject(f"bad{n}", "invalid_json", "", Place("shard", n)) for n in range(15)),
        *(Tally(n, 10 * n) for n in range(12)),
    ]
    prompts = to_prompts(items_table(items), *made, Ledger.empty)
    order = list(range(prompts.num_rows))
    random.Random(3).shuffle(order)
    assert to_batches(prompts.take(order), *made, 4, 0).equals(to_batches(prompts, *made, 4, 0))


# A replica that is to end.


class Reports(NullReporter):
    """Says that the run ends in this many seconds, if at all; keeps what it is told."""

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        self.done: list[int] = []

    def worked(self, counts) -> None:
        self.done.append(counts.done)

    async def heartbeat(self) -> float | None:
        return self.seconds


@pytest.mark.parametrize(("seconds", "answered"), [(5.0, 0), (None, 3)])
def test_a_replica_begins_its_first_batch_only_if_the_run_goes_on(seconds, answered):
    made = job("shards", "store", ROWS, engine={"kind": "recorded"})
    source = load_prompt(made.prompt.template, 399)
    reports = Reports(seconds)
    items = items_table([record(n, "abc") for n in range(3)])
    packed = to_batches(to_prompts(items, made, source, Ledger.empty), made, source, 1, 0)
    outcomes = asyncio.run(BatchWorker(made, source, reports)(packed))
    standings = outcomes["standing"].to_pylist()
    assert len(standings) - standings.count("tally") == answered
    tallies = outcomes.filter(pc.equal(outcomes["standing"], "tally"))
    assert sum(tallies["read"].to_pylist()) == answered - 3
    assert reports.done[-1] == answered


def test_work_that_no_replica_will_begin_counts_as_not_read():
    class Ending(NullReporter):
        def is_ending(self) -> bool:
            return True

    made = night("shared_first")
    items = items_table([*(record(n, "abc") for n in range(3)), Tally(3, 30)])
    prompts = to_prompts(items, *made, Ledger.empty)
    packed = to_batches(prompts, *made, 1, 0, Ending())
    rows = [row for at in range(packed.num_rows) for row in unpack(packed.slice(at, 1)).to_pylist()]
    assert {row["standing"] for row in rows} == {"tally"}
    assert sum(row["read"] for row in rows) == 0
