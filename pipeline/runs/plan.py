"""What a run would do: how many records it would generate, and why."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any, Literal, NamedTuple, Self, TypeAlias, get_args

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.answering.prepare import Prepared
from pipeline.cluster.executor import Executor, Stream
from pipeline.config.schema import Job
from pipeline.core.accounting import Totals
from pipeline.core.arrow import (
    PROMPTS,
    batch_lines,
    carry,
    fields,
    receipt,
    split_work,
    table_prompts,
)
from pipeline.core.records import BatchLine, Prompt
from pipeline.engines import model_of, sampling_of, settings_of, shares_generations
from pipeline.engines.token_budget import CHARACTERS_PER_TOKEN
from pipeline.flow import ledger_of, lengths_of, partitions_of, read_prompts, stored_totals
from pipeline.prompting.cache_estimate import is_sampled
from pipeline.prompting.keys import canonical
from pipeline.prompting.own_ids import SETTLED_BY
from pipeline.prompting.template import PromptSource
from pipeline.runs.generations import Generations
from pipeline.runs.monitor import Monitor, Watcher
from pipeline.runs.progress import InputBounds
from pipeline.store.filling import outdated_in
from pipeline.store.history import History, LastAnswer, Provenance
from pipeline.store.judging import CurrentAnswers, ToJudge
from pipeline.store.ledger import Ledger, answer_digest, contains
from pipeline.store.lengths import Lengths, question_key
from pipeline.store.schema import sampling_under

_PLANNED = [*SETTLED_BY, "prompt_key", "reason", "detail", "batch", "tokens"]
REDUCED = pa.schema(
    [*PROMPTS, *fields(pa.int64(), "tokens", "answer_tokens"), ("in_sample", pa.bool_())]
)
"""Prompts with their estimated tokens and those of their answers; most have no other column than
`_PLANNED`."""

SAMPLE_BYTES = 4 * 2**20
"""How much input is sampled to estimate use of the prefix cache: some thousand prompts."""

Setting: TypeAlias = Literal[
    "decoding", "chat_template", "chat_template_kwargs", "extra_body", "options", "reasoning"
]
Change: TypeAlias = (
    Literal["prompt", "model", "model_revision", "adapter", "sampling", "recorded_answer"] | Setting
)
COMPARED: tuple[Change, ...] = ("model", "model_revision", "adapter", "sampling")
"""Fields of `Provenance` whose change makes a record work."""

SETTINGS: tuple[Setting, ...] = get_args(Setting)
"""Entries of the column `settings` of whose change the same holds."""


class Cause(NamedTuple):
    """Why a record must be generated: it is new, its prompt or settings changed, or it failed.

    `before` is the provenance of its last answer, None for a new record; `changes` is empty for one
    that failed.
    """

    kind: Literal["new", "changed", "failed_before"]
    changes: tuple[Change, ...] = ()
    before: Provenance | None = None


class Example(NamedTuple):
    """A prompt that has changed, and the part that holds the record's last answer."""

    prompt: Prompt
    cause: Cause
    part: str


@dataclass(slots=True)
class WorkPlan:
    """What a run would do.

    `records` and `prompt_tokens`, an estimate, count the work by its cause. `sample` holds all
    prompts of a sample of papers, and `longest` is the one of most characters, where a model has
    a context. `ids` is the section of `run.json`.
    """

    totals: Totals = field(default_factory=Totals)
    records: Counter[Cause] = field(default_factory=Counter)
    prompt_tokens: Counter[Cause] = field(default_factory=Counter)
    examples: list[Example] = field(default_factory=list)
    sample: list[Prompt] = field(default_factory=list)
    longest: Prompt | None = None
    ids: Mapping[str, Any] = field(default_factory=dict)
    to_fill_in: int = 0  # current records whose carried columns the store lacks, at most
    to_judge: int = 0  # current records whose answers lack a judgement
    generations: Generations = field(default_factory=Generations)  # if equal prompts share them
    answer_tokens: int = 0  # of all work, by the lengths of earlier answers; 0 if there are none
    mean_answer_tokens: float = 0.0  # of these

    def add(self, other: Self) -> None:
        self.totals.add(other.totals)
        self.records.update(other.records)
        self.prompt_tokens.update(other.prompt_tokens)
        self.examples.extend(other.examples)
        self.sample.extend(other.sample)
        self.to_fill_in += other.to_fill_in
        self.to_judge += other.to_judge
        self.generations.add(other.generations)
        self.answer_tokens += other.answer_tokens
        self.longest = max(self.longest, other.longest, key=_characters)


def make_plan(
    prepared: Prepared, executor: Executor, watcher: Watcher, examples: int = 0
) -> WorkPlan:
    """Plans a run, with at most this many examples; changes nothing."""
    if prepared.job.input.store:
        ledger = ledger_of(prepared)
        limited = ledger.unjudged[: prepared.selection.limit]
        return WorkPlan(stored_totals(ledger), to_judge=len(limited))
    plan = WorkPlan()
    bounds = InputBounds(prepared.input_bytes, prepared.selection.limit)
    with executor, Monitor(bounds, plan.totals, executor.counts, [watcher]).watching():
        ledger = ledger_of(prepared)
        lengths = lengths_of(prepared, ledger)
        plan.mean_answer_tokens = lengths.mean if lengths else 0.0
        for table_plan in _tables(prepared, executor, ledger, lengths, examples):
            plan.add(table_plan)
            plan.examples = plan.examples[:examples]
        plan.ids = executor.identities.summary()
    return plan


def _tables(
    prepared: Prepared, executor: Executor, of_store: Ledger, lengths: Lengths | None, examples: int
) -> Iterator[WorkPlan]:
    """Runs the flow as far as prompts; yields the plan of each table of them."""
    ledger = executor.share(of_store)
    history = executor.compute(partial(History.of, prepared.store, prepared.job.input.bucket))
    planner = Planner(
        prepared.job,
        prepared.source,
        ledger,
        history,
        examples,
        _sampled_share(prepared),
        executor.share(lengths),
    )
    gather = partial(_gathered, tables=partitions_of(prepared))
    is_sampling = planner.sampled > 0  # it tries other orders of passages
    prompts = read_prompts(
        prepared, executor, ledger, gather, planner.reduced, keeps_passages=is_sampling
    )
    return prompts.map(planner.planned).receipts()


def _gathered(prompts: Stream, tables: int) -> Stream:
    return prompts.together(None, tables)


@dataclass(frozen=True, slots=True)
class Planner:
    """Stages from prompts to plans, each with at most this many examples, and with all prompts of a
    share `sampled` of the papers.
    """

    job: Job
    source: PromptSource
    ledger: Callable[[], Ledger]
    history: Callable[[], History]
    examples: int
    sampled: float
    lengths: Callable[[], Lengths | None]

    def reduced(self, prompts: pa.Table) -> pa.Table:
        """What waits until all is read: a few columns, and the texts that are to be shown."""
        prompts = _with_column(prompts, "tokens", _estimated_tokens(prompts))
        work, rest = split_work(prompts)
        work = _with_column(work, "answer_tokens", self._answer_tokens(work))
        is_shown = np.zeros(work.num_rows, bool)
        if self.examples:
            is_shown[self._changed(self._causes(work)[0])] = True
        if self.sampled:
            in_sample = [is_sampled(paper, self.sampled) for paper in work["paper"].to_pylist()]
            work = _with_column(work, "in_sample", in_sample)
            is_shown |= np.array(in_sample, bool)
            is_shown[_longest(work["tokens"])] = True
        others = work.filter(pa.array(~is_shown)).select([*_PLANNED, "answer_tokens"])
        rest = rest.select([*_PLANNED, "extra"])
        shown = work.filter(pa.array(is_shown))
        return pa.concat_tables([carry(table, REDUCED) for table in (shown, others, rest)])

    def planned(self, prompts: pa.Table) -> pa.Table:
        """The plan of a table of reduced prompts, as a receipt."""
        work, rest = split_work(prompts)
        causes, answers = self._causes(work)
        plan = WorkPlan(Totals.of(prompts), Counter(causes))
        plan.to_fill_in = outdated_in(rest, self.job.output.carry).num_rows
        if len(unjudged := self.ledger().unjudged):
            plan.to_judge = len(ToJudge.of([CurrentAnswers.among(rest)], unjudged).answers)
        if shares_generations(self.job):
            plan.generations = Generations.of(work)
        plan.answer_tokens = pc.sum(work["answer_tokens"]).as_py() or 0
        for cause, tokens in zip(causes, work["tokens"].to_pylist(), strict=True):
            plan.prompt_tokens[cause] += tokens
        has_texts = pc.is_valid(work["messages"]).to_pylist()
        for row in self._changed(causes):
            if has_texts[row] and (last := answers[row]):
                (prompt,) = table_prompts(work.slice(row, 1))
                plan.examples.append(Example(prompt, causes[row], last.part))
        plan.sample = table_prompts(work.filter(pc.fill_null(work["in_sample"], False)))
        if self.sampled:
            texts = work.filter(pc.is_valid(work["messages"]))
            plan.longest = next(iter(table_prompts(texts.take(_longest(texts["tokens"])))), None)
        return receipt(plan)

    def _answer_tokens(self, work: pa.Table) -> list[int | None]:
        """Tokens expected of the answers to rows, by earlier ones to their questions."""
        if (lengths := self.lengths()) is None:
            return [None] * work.num_rows
        columns = (work[name].to_pylist() for name in ("question_id", "question"))
        return [*lengths.expected(work["record_id"].to_pylist(), [*map(question_key, *columns)])]

    def _changed(self, causes: Sequence[Cause]) -> list[int]:
        """The first rows whose prompt has changed."""
        changed = (row for row, cause in enumerate(causes) if "prompt" in cause.changes)
        return list(islice(changed, self.examples))

    def _causes(self, work: pa.Table) -> tuple[list[Cause], list[LastAnswer | None]]:
        """Why rows must be generated, and the last answers of their records."""
        if not work.num_rows:  # as the history may not have been read yet
            return [], []
        answers = self.history().find(work["record_id"].to_pylist())
        return _causes(work, answers, self.ledger(), self.job, self.source), answers


def _longest(tokens: pa.ChunkedArray) -> pa.Array:
    """The row of the longest prompt; none of none."""
    order = [("tokens", "descending")]
    return pc.select_k_unstable(pa.table({"tokens": tokens}), 1, order)


def _characters(prompt: Prompt | None) -> int:
    return sum(len(m.content) for m in prompt.messages) if prompt else -1


def _with_column(table: pa.Table, name: str, values: Sequence[Any]) -> pa.Table:
    return table.append_column(REDUCED.field(name), pa.array(values, REDUCED.field(name).type))


def provenance_of(job: Job, source: PromptSource) -> Provenance:
    """The provenance that a job's answers would be stored with."""
    texts = (canonical(part(job)).decode() for part in (sampling_of, settings_of))
    return Provenance(source.name, source.version, *model_of(job), job.engine.adapter, *texts)


def _causes(
    work: pa.Table,
    answers: Sequence[LastAnswer | None],
    ledger: Ledger,
    job: Job,
    source: PromptSource,
) -> list[Cause]:
    now = provenance_of(job, source)
    keys = (work[name].to_pylist() for name in ("record_id", "generation_key"))
    again = contains(ledger.again, list(map(answer_digest, *keys)))
    prompt_keys = map(bytes.fromhex, work["prompt_key"].to_pylist())
    unstored: Change = "recorded_answer" if job.engine.kind == "recorded" else "decoding"
    return [
        Cause("failed_before", (), last.provenance if last else None)
        if is_retried
        else _changed(last, prompt_key, _under(now, line), unstored)
        for last, prompt_key, is_retried, line in zip(
            answers, prompt_keys, again, batch_lines(work), strict=True
        )
    ]


def _under(of_job: Provenance, line: BatchLine | None) -> Provenance:
    """The provenance of a record whose line of a batch file may set its own sampling."""
    if line is None:
        return of_job
    return of_job._replace(sampling=sampling_under(of_job.sampling or "{}", line))


def _changed(
    last: LastAnswer | None, prompt_key: bytes, now: Provenance, unstored: Change
) -> Cause:
    """`unstored` has no column, or had none: it has changed if nothing else has."""
    if last is None:
        return Cause("new")
    changes: list[Change] = ["prompt"] if last.prompt_key != prompt_key else []
    changes += [name for name in COMPARED if getattr(last.provenance, name) != getattr(now, name)]
    changes += changed_settings(last.provenance.settings, now.settings or "{}")
    return Cause("changed", tuple(changes) or (unstored,), last.provenance)


def changed_settings(before: str | None, now: str) -> list[Setting]:
    """The settings that differ between two cells of the column, `before` null if an earlier release
    wrote it: it had no setting but the decoding.
    """
    if before == now:
        return []
    new = orjson.loads(now)
    old = orjson.loads(before) if before else {"decoding": new.get("decoding")}
    return [name for name in SETTINGS if old.get(name) != new.get(name)]


def _estimated_tokens(work: pa.Table) -> list[int]:
    """Prompt tokens of every row, by the length of its messages."""
    messages = work["messages"].combine_chunks()
    lengths = pc.utf8_length(messages.flatten().field("content"))
    rows = pc.list_parent_indices(messages)
    characters = np.bincount(rows, lengths, minlength=len(messages)).astype(int)
    return list((characters // CHARACTERS_PER_TOKEN).tolist())


def _sampled_share(prepared: Prepared) -> float:
    """The share of papers whose prompts are sampled: none but for vLLM, which has the cache."""
    if prepared.job.engine.kind != "vllm":
        return 0.0
    return min(SAMPLE_BYTES / max(prepared.bucket_bytes, 1), 1.0)
