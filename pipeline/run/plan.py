"""What a run would do and why: how much work there is, by its causes."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, NamedTuple, Self, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.answering.prepare import Prepared
from pipeline.cluster.counters import RunCounts, StageCounts
from pipeline.cluster.executor import Executor
from pipeline.config.schema import Job
from pipeline.core.accounting import Totals
from pipeline.core.arrow import receipt, split_work, structs_of_lists, table_prompts
from pipeline.core.records import Message, Prompt
from pipeline.engines import model_of, sampling_of
from pipeline.engines.token_budget import CHARACTERS_PER_TOKEN
from pipeline.flow import read_prompts
from pipeline.prompting.cache_estimate import is_sampled
from pipeline.prompting.keys import canonical
from pipeline.prompting.template import PromptSource
from pipeline.run.monitor import Watcher
from pipeline.run.progress import InputBounds, RateWindow, RunProgress
from pipeline.store.history import History, LastAnswer, Provenance
from pipeline.store.ledger import Ledger, answer_digest, contains

Change: TypeAlias = Literal[
    "prompt", "model", "model_revision", "sampling", "decoding", "recorded_answer"
]


class Cause(NamedTuple):
    """Why a record is work: new, changed since it was last answered, or failed and asked again.

    `before` is what it was last answered under, None for a new one; `changes` are empty for one
    that failed.
    """

    kind: Literal["new", "changed", "failed_before"]
    changes: tuple[Change, ...] = ()
    before: Provenance | None = None


class Example(NamedTuple):
    """A record whose prompt has changed, with the messages that it would be asked with, and the
    part that holds what it was asked with.
    """

    record_id: str
    cause: Cause
    messages: tuple[Message, ...]
    part: str


@dataclass(slots=True)
class WorkPlan:
    """The totals of a plan; records and estimated prompt tokens by cause; a few examples, and the
    prompts of a sample of papers.
    """

    totals: Totals = field(default_factory=Totals)
    records: Counter[Cause] = field(default_factory=Counter)
    prompt_tokens: Counter[Cause] = field(default_factory=Counter)
    examples: list[Example] = field(default_factory=list)
    sample: list[Prompt] = field(default_factory=list)

    def add(self, other: Self) -> None:
        self.totals.add(other.totals)
        self.records.update(other.records)
        self.prompt_tokens.update(other.prompt_tokens)
        self.examples.extend(other.examples)
        self.sample.extend(other.sample)


def make_plan(
    prepared: Prepared, executor: Executor, watcher: Watcher, examples: int = 0
) -> WorkPlan:
    """What a run would find and do, with at most this many examples; changes nothing."""
    plan, window = WorkPlan(), RateWindow()
    bounds = InputBounds(prepared.input_bytes, prepared.selection.limit)
    with executor:
        for table_plan in _tables(prepared, executor, examples):
            plan.add(table_plan)
            plan.examples = plan.examples[:examples]
            counts = RunCounts(StageCounts.of(plan.totals))
            rates = window.rates(counts, time.monotonic())
            watcher(RunProgress(plan.totals, counts, rates, bounds))
    return plan


def _tables(prepared: Prepared, executor: Executor, examples: int) -> Iterator[WorkPlan]:
    """The plan of each table of prompts: the flow as far as that."""
    bucket = prepared.job.input.bucket
    ledger = executor.share(Ledger.of(prepared.store, prepared.selection, bucket))
    stage = partial(
        plan_table,
        job=prepared.job,
        source=prepared.source,
        ledger=ledger,
        history=executor.share(History.of(prepared.store, bucket)),
        examples=examples,
        sampled=prepared.sampled_share,
    )
    return read_prompts(prepared, executor, ledger, stage).receipts()


def plan_table(
    prompts: pa.Table,
    job: Job,
    source: PromptSource,
    ledger: Callable[[], Ledger],
    history: Callable[[], History],
    examples: int,
    sampled: float,
) -> pa.Table:
    """Stage: what a run would make of a table of prompts, as a receipt.

    It holds at most this many examples, and all prompts of a share `sampled` of the papers.
    """
    work, _ = split_work(prompts)
    causes = _causes(work, job, source, ledger(), history())
    plan = WorkPlan(Totals.of(prompts), Counter(causes))
    for cause, tokens in zip(causes, _estimated_tokens(work), strict=True):
        plan.prompt_tokens[cause] += tokens
    rows = [row for row, cause in enumerate(causes) if "prompt" in cause.changes][:examples]
    plan.examples = _examples(work.take(pa.array(rows, pa.int64())), rows, causes, history())
    if sampled:
        chosen = [is_sampled(paper, sampled) for paper in work["paper"].to_pylist()]
        plan.sample = table_prompts(work.filter(pa.array(chosen, pa.bool_())))
    return receipt(plan)


def _examples(
    work: pa.Table, rows: Sequence[int], causes: Sequence[Cause], history: History
) -> list[Example]:
    ids = work["record_id"].to_pylist()
    messages = structs_of_lists(work["messages"], Message)
    parts = [last.part for last in history.find(ids) if last]
    return list(map(Example, ids, [causes[row] for row in rows], messages, parts))


def now_of(job: Job, source: PromptSource) -> Provenance:
    """What a job's answers would be stored under."""
    return Provenance(
        source.name, source.version, *model_of(job), canonical(sampling_of(job)).decode()
    )


def _causes(
    work: pa.Table, job: Job, source: PromptSource, ledger: Ledger, history: History
) -> list[Cause]:
    now = now_of(job, source)
    ids = work["record_id"].to_pylist()
    digests = list(map(answer_digest, ids, work["generation_key"].to_pylist()))
    prompt_keys = map(bytes.fromhex, work["prompt_key"].to_pylist())
    rest: Change = "recorded_answer" if job.engine.kind == "recorded" else "decoding"
    return [
        Cause("failed_before", (), past.provenance if past else None)
        if again
        else _changed(past, prompt_key, now, rest)
        for past, prompt_key, again in zip(
            history.find(ids), prompt_keys, contains(ledger.again, digests), strict=True
        )
    ]


def _changed(past: LastAnswer | None, prompt_key: bytes, now: Provenance, rest: Change) -> Cause:
    """`rest` is what must have changed where nothing that the store's columns tell has."""
    if past is None:
        return Cause("new")
    before = past.provenance
    compared: tuple[tuple[Change, bool], ...] = (
        ("prompt", past.prompt_key != prompt_key),
        ("model", before.model != now.model),
        ("model_revision", before.model_revision != now.model_revision),
        ("sampling", before.sampling != now.sampling),
    )
    changes = tuple(change for change, differs in compared if differs)
    return Cause("changed", changes or (rest,), before)


def _estimated_tokens(work: pa.Table) -> list[int]:
    messages = work["messages"].combine_chunks()
    lengths = pc.utf8_length(messages.flatten().field("content"))
    sums = pa.array(messages.value_lengths()).to_pylist()
    characters, tokens, start = lengths.to_pylist(), [], 0
    for count in sums:
        tokens.append(sum(characters[start : start + count]) // CHARACTERS_PER_TOKEN)
        start += count
    return tokens
