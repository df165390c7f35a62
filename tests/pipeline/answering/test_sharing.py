"""Equal prompts are generated once; each record has a row, with checks and repairs of its own.

The engine is a fake that counts what it is asked.
"""

import asyncio
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.answering import engine_loader
from pipeline.answering.evaluate import Evaluator
from pipeline.answering.replica import BatchWorker
from pipeline.cluster.counters import EngineCounts
from pipeline.cluster.identities import Identities
from pipeline.cluster.reporter import Reporter
from pipeline.config.schema import Answer, Job
from pipeline.core.arrow import pack, receipts_in
from pipeline.core.filesystem import Storage
from pipeline.core.records import Completion
from pipeline.engines.engine import GenerationError, Request
from pipeline.prompting.render import to_prompts
from pipeline.prompting.template import load_prompt
from pipeline.store.ledger import Ledger
from pipeline.store.parts import PartWriter
from pipeline.store.sink import Sink
from tests.pipeline.answering import test_flushing as flushing
from tests.pipeline.answering.test_flushing import AccidentalSink, Accidents, Announced
from tests.support.jobs import (
    BETTER_PROMPT,
    counts,
    job,
    plan,
    record,
    rows,
    run,
    stored,
    write_jsonl,
)
from tests.support.scripted import CUT_OFF, GOOD
from tests.support.shards import items_of

BREAKS_OFF, FAILS = 5, 7
"""Of every so many ponds one has a first answer that breaks off, or no answer at all."""

Twin = tuple[int, str | None]
"""The pond of a record, which decides its prompt, and its paper."""

TWINS = st.lists(
    st.tuples(st.integers(0, 9), st.sampled_from([None, "p", "q"])), min_size=1, max_size=30
)


@dataclass
class CountingEngine:
    """Counts its requests by pond, number of the attempt and messages, and tokens."""

    kind, version = "counting", "1"
    asked: Counter[tuple[int, int, Any]] = field(default_factory=Counter)
    tokens: int = 0
    waits: asyncio.Event | None = None  # for a second attempt

    async def generate(self, request: Request) -> Completion:
        (pond,) = {
            int(n) for n in re.findall(r"at pond (\d+)\?", request.prompt.messages[-1].content)
        }
        self.asked[pond, request.attempt, request.messages] += 1
        await asyncio.sleep(0)
        if request.choices:
            return Completion("yes", "stop", 30, 20, 1)
        if self.waits and request.attempt:
            await self.waits.wait()
        if pond % FAILS == FAILS - 1:
            raise GenerationError("the conversation is too long")
        self.tokens += 5
        is_cut = pond % BREAKS_OFF == 0 and not request.attempt
        return Completion((CUT_OFF if is_cut else GOOD).format(pond + 3), "stop", 10, 4, 5)

    @property
    def prompts(self) -> list[int]:
        """The pond of every first attempt."""
        return sorted(pond for pond, attempt, _ in self.asked.elements() if not attempt)


@pytest.fixture
def engine(monkeypatch) -> CountingEngine:
    engine = CountingEngine()
    monkeypatch.setattr(engine_loader, "open_engine", lambda *_: engine)
    return engine


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> Iterator[Any]:
    """New folders, one for every example of a property."""
    return lambda: tmp_path_factory.mktemp("equal")


def lines(twins: list[Twin]) -> list[dict[str, Any]]:
    return [
        {**row, "record_id": f"r{number}-{pond}", "paper_id": paper, "question_id": None}
        for number, (pond, paper) in enumerate(twins)
        for row in rows([pond])
    ]


def task(folder: Path, twins: list[Twin], rows_per_file: int = 40, **sections: Any) -> Job:
    write_jsonl(folder / "shards/a.jsonl", lines(twins))
    openai = {"kind": "openai", "model": "m", "options": {"base_url": "http://127.0.0.1:9/v1"}}
    sections["engine"] = openai | sections.get("engine", {})
    sections.setdefault("failure_budget", 1.0)
    return job(folder / "shards", folder / "store", rows_per_file, **sections)


def pond_of(row: dict[str, Any]) -> int:
    return int(row["record_id"].rpartition("-")[2])


def answers(task_: Job) -> list[dict[str, Any]]:
    folder = Path(task_.output.uri)
    return stored(folder).to_pylist() if list(folder.glob("answers/part-*")) else []


def packed(task_: Job, ponds: list[int], words: list[str] | None = None) -> pa.Table:
    """A batch of records, whose column `wanted` has these words."""
    records = [
        record(pond, record_id=f"r{number}-{pond}", extra={"wanted": word})
        for number, (pond, word) in enumerate(zip(ponds, words or ponds, strict=True))
    ]
    source, index = load_prompt(task_.prompt.template, Answer()), Identities()
    return pack([to_prompts(items_of(*records), task_, source, Ledger.empty, index)])


def worker_of(task_: Job, sink: Sink, reporter: Reporter) -> BatchWorker:
    source = load_prompt(task_.prompt.template, Answer())
    return BatchWorker(task_, source, Evaluator.of(task_), sink, reporter)


@settings(max_examples=25, deadline=None)
@given(twins=TWINS, passages=st.sampled_from(["as_given", "shared_first"]))
def test_every_prompt_is_generated_once_and_every_record_has_its_row(folders, twins, passages):
    with pytest.MonkeyPatch.context() as patch:
        engine = CountingEngine()
        patch.setattr(engine_loader, "open_engine", lambda *_: engine)
        prompt = {"template": BETTER_PROMPT, "passages": passages}
        of = task(folders(), twins, prompt=prompt)
        document = run(of)
    ponds = {pond for pond, _ in twins}
    assert engine.prompts == sorted(ponds)
    assert set(engine.asked.values()) == {1}
    found = answers(of)
    assert sorted(row["record_id"] for row in found) == sorted(r["record_id"] for r in lines(twins))
    for row in found:
        fails = pond_of(row) % FAILS == FAILS - 1
        assert row["failed_checks"] == (["engine_error"] if fails else [])
        assert fails or f"{pond_of(row) + 3} herons" in row["answer"]
    own = [row for row in found if row["generated_for"] is None]
    assert sorted(map(pond_of, own)) == sorted(ponds)
    names = {row["record_id"]: pond_of(row) for row in own}
    assert all(names[r["generated_for"]] == pond_of(r) for r in found if r["generated_for"])
    sums, done = document["sums"], counts(document)
    assert sums["shared_generations"] == len(twins) - len(ponds)
    first = done.get("answered", 0) + done.get("failed", 0) - sums["shared_generations"]
    assert first + sums["repairs"] == engine.asked.total()
    assert sums["completion_tokens"] == engine.tokens == sum(r["completion_tokens"] for r in found)


def test_each_of_equal_prompts_is_generated_if_the_job_wants_that(tmp_path, engine):
    twins: list[Twin] = [(1, "p"), (1, "p"), (2, None), (1, None)]
    of = task(tmp_path, twins, engine={"equal_prompts": "each"})
    document = run(of)
    assert engine.prompts == [1, 1, 1, 2]
    assert {row["generated_for"] for row in answers(of)} == {None}
    assert document["sums"]["shared_generations"] == 0
    assert plan(task(tmp_path / "new", twins)).generations.shared().records == 2
    each = task(tmp_path / "new", twins, engine={"equal_prompts": "each"})
    assert plan(each).generations.shared() == (0, 0)


def test_the_key_is_the_same_however_often_a_prompt_is_generated(tmp_path, engine):
    twins: list[Twin] = [(1, "p"), (1, "p")]
    run(task(tmp_path, twins))
    again = run(task(tmp_path, twins, engine={"equal_prompts": "each"}))
    assert counts(again) == {"read": 2, "current": 2}


def test_a_group_larger_than_a_batch_is_generated_once_a_batch(tmp_path, engine):
    run(task(tmp_path, [(1, "p")] * 10, rows_per_file=4))
    assert engine.prompts == [1, 1, 1]


def test_a_check_reads_its_own_record_and_its_repair_is_asked_for_that_alone(tmp_path, engine):
    wanted = {"expression": "answer.contains(extra.wanted)", "level": "fail", "ask": "Say more."}
    of = task(tmp_path, [(1, "p")] * 4, checks={"wanted": wanted}, attempts=2)
    words = ["herons", "storks", "herons", "storks"]
    shard = [{**line, "wanted": w} for line, w in zip(lines([(1, "p")] * 4), words, strict=True)]
    write_jsonl(tmp_path / "shards/a.jsonl", shard)
    document = run(of)
    assert sorted(attempt for _, attempt, _ in engine.asked.elements()) == [0, 1]
    found = sorted(answers(of), key=lambda row: row["record_id"])
    assert [row["status"] for row in found] == ["answered", "failed", "answered", "failed"]
    generated = [[a["generated_for"] for a in row["attempts"]] for row in found]
    assert generated == [[None], ["r0-1", None], ["r0-1"], ["r0-1", "r1-1"]]
    assert [row["completion_tokens"] for row in found] == [5, 5, 0, 0]
    assert [a["completion_tokens"] for row in found for a in row["attempts"]] == [5] * 6
    sums = document["sums"]
    assert (sums["shared_generations"], sums["repairs"], sums["completion_tokens"]) == (3, 1, 10)
    assert sums["first_prompt_tokens"] == 10


def test_a_judge_is_asked_once_about_an_answer_that_records_share(tmp_path, engine):
    of = task(tmp_path, [(1, "p"), (1, None), (2, "p")], judge={})
    document = run(of)
    assert engine.asked.total() == 2 + 2
    assert document["counts"]["judged"] == 3
    assert document["sums"]["judge_prompt_tokens"] == 2 * 30
    assert [[j["value"] for j in row["judgements"]] for row in answers(of)] == [["yes"]] * 3


@settings(max_examples=12, deadline=None)
@given(
    twins=TWINS,
    moments=st.lists(st.tuples(st.integers(1, 4), st.booleans()), min_size=1, max_size=3),
)
def test_after_kills_no_prompt_is_generated_again_whose_answer_is_stored(folders, twins, moments):
    """Killed at the n-th write of each run, before or after it; then the job is run to its end."""
    groups = Counter(pond for pond, _ in twins)
    of = task(folders(), twins, rows_per_file=max(*groups.values(), 3))
    write = Sink.write_answers
    for number, is_after in (*moments, (len(twins) + 1, False)):
        before = Counter(map(pond_of, answers(of)))
        with pytest.MonkeyPatch.context() as patch:
            engine = CountingEngine()
            left = [number]

            def write_or_die(sink, part, part_rows, left=left, is_after=is_after):
                left[0] -= 1
                if left[0] < 0 or (left[0] == 0 and not is_after):
                    raise flushing.Killed
                size = write(sink, part, part_rows)
                if left[0] == 0:
                    raise flushing.Killed
                return size

            patch.setattr(engine_loader, "open_engine", lambda *_, engine=engine: engine)
            patch.setattr(Sink, "write_answers", write_or_die)
            run(of)
        assert set(engine.asked.values()) <= {1}
        assert not before.keys() & {*engine.prompts}
        held = Counter(map(pond_of, answers(of)))
        assert all(held[pond] == groups[pond] for pond in held)
    assert held == groups
    assert engine.prompts == sorted(groups.keys() - before)


@settings(max_examples=15, deadline=None)
@given(
    ponds=st.lists(st.integers(0, 5), min_size=1, max_size=12),
    kills=st.dictionaries(st.integers(1, 6), st.sampled_from(["before", "after"]), max_size=3),
)
def test_a_batch_that_comes_again_generates_what_is_not_stored_of_it(folders, ponds, kills):
    """As Ray asks for it after a kill, here at writes of parts that hold no more than a group."""
    groups = Counter(ponds)
    of = task(folders(), [], rows_per_file=max(groups.values()))
    sink = AccidentalSink(
        of.output.uri, Storage(), PartWriter("run-1"), of.rows_per_file, Accidents(kills)
    )
    prompts, reporter, lost = packed(of, ponds), Announced(), True
    while lost:
        engine, before = CountingEngine(), {pond_of(row) for row in answers(of)}
        worker = worker_of(of, sink, reporter)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(engine_loader, "open_engine", lambda *_, engine=engine: engine)
            lost = sink.accidents.is_killed = False
            try:
                (totals,) = receipts_in(flushing.lived(worker(prompts)))
            except flushing.Killed:
                lost = True
        assert not before & {*engine.prompts}
        assert set(engine.asked.values()) <= {1}
    assert engine.prompts == sorted(groups.keys() - before)
    assert Counter(map(pond_of, answers(of))) == groups
    assert totals.states["answered"] == len(ponds)
    assert totals.sums["shared_generations"] == len(ponds) - len(groups)
    assert totals.sums["first_prompt_tokens"] == 10 * len(groups)


class Ending(Reporter):
    """Ends the run once it is told to, with no time left."""

    def __init__(self) -> None:
        self.is_over = False
        self.counts = EngineCounts()

    async def heartbeat(self, counts: EngineCounts, is_stopping: bool) -> float | None:
        self.counts = counts
        return 0.0 if self.is_over else None

    def worked(self, counts: EngineCounts, is_stopping: bool) -> None:
        self.counts = counts


def test_when_a_run_ends_equal_prompts_are_all_answered_or_none(tmp_path, engine, monkeypatch):
    monkeypatch.setattr("pipeline.answering.stop_signal.HEARTBEAT_SECONDS", 0.02)
    wanted = {"expression": "answer.contains(extra.wanted)", "level": "fail", "ask": "Say more."}
    of = task(tmp_path, [], checks={"wanted": wanted})
    sink, reporter = Sink(of.output.uri, Storage(), PartWriter("run-1"), of.rows_per_file), Ending()
    prompts = packed(of, [1, 1, 2, 2], ["herons", "storks", "herons", "herons"])

    async def end() -> Any:
        engine.waits = asyncio.Event()
        batch = asyncio.create_task(worker_of(of, sink, reporter)(prompts))
        while not any(attempt for _, attempt, _ in engine.asked) and not batch.done():
            await asyncio.sleep(0.01)
        reporter.is_over = True
        return await batch

    (totals,) = receipts_in(asyncio.run(end()))
    assert (totals.states["answered"], totals.sums["read"]) == (2, 2)  # of the four
    assert sorted(map(pond_of, answers(of))) == [2, 2]
    assert (reporter.counts.asked, reporter.counts.done, reporter.counts.shared) == (2, 2, 1)


def test_a_plan_counts_the_tokens_of_equal_prompts_once(tmp_path, engine):
    twins: list[Twin] = [(1, "p"), (1, None), (2, "p"), (1, "p")]
    shared = plan(task(tmp_path / "twins", twins)).generations.shared()
    single = plan(task(tmp_path / "single", [(1, "p"), (2, "p")]))
    twice = plan(task(tmp_path / "twins", twins))
    assert shared.records == 2
    left = twice.prompt_tokens.total() - shared.prompt_tokens
    assert left == single.prompt_tokens.total()


def test_the_issues_measure_holds_300_records_of_150_prompts(tmp_path, engine):
    twins: list[Twin] = [(n % 150, f"p{n % 150 // 10}") for n in range(300)]
    run(task(tmp_path, twins, rows_per_file=50))
    assert engine.prompts == list(range(150))
    by_pond = defaultdict(set)
    for row in answers(task(tmp_path, twins)):
        by_pond[pond_of(row)].add(row["completion"])
    assert all(len(completions) == 1 for completions in by_pond.values())
