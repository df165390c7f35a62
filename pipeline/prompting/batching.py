"""Stage: prompts to batches for the engines, arranged so that what they share is read once."""

from collections.abc import Callable, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.cluster.counters import StageCounts
from pipeline.cluster.reporter import Reporter
from pipeline.config.schema import Job
from pipeline.core.arrow import (
    first_of_work,
    pack,
    prompts_table,
    slices,
    split_work,
    table_prompts,
    tally,
)
from pipeline.core.records import Prompt
from pipeline.engines import least_rows, shares_generations
from pipeline.engines.token_budget import CHARACTERS_PER_TOKEN, answer_tokens
from pipeline.prompting.cache_estimate import block_tokens
from pipeline.prompting.grouping import PromptGroup, grouped, papers_of, split_batches
from pipeline.prompting.passage_order import arranged
from pipeline.prompting.priority import LAST, Priority
from pipeline.prompting.template import PromptSource
from pipeline.store.lengths import Lengths, question_key

STABLE_ORDER = ("record_id", "source_uri", "source_row", "read", "stored_bytes")
"""Columns that tell any two rows of a table of prompts apart, tallies too."""


def to_batches(
    prompts: pa.Table,
    job: Job,
    source: PromptSource,
    in_flight: float,
    reporter: Reporter = Reporter(),  # noqa: B008  it has no state
    lengths: Callable[[], Lengths | None] = lambda: None,
    priority: Callable[[], Priority | None] = lambda: None,
) -> pa.Table:
    """Prompts in packed batches, one a row, none larger than a part of the store.

    If a model reads them, a paper's prompts stand together, in the order in which they share the
    most prefix, equal ones in one batch, and papers with long answers come first, as far as
    `lengths` of earlier ones tell. `in_flight` batches are at work at a time.

    With a `priority` the papers that have the highest record come first of all, and the batches
    have the columns of `RANKED`.
    """
    if reporter.is_ending():
        prompts = first_of_work(prompts, 0)
    first = priority()
    if job.engine.generates:
        batches = _arranged_batches(prompts, job, source, in_flight, lengths(), first)
    else:
        ordered = _by_rank(prompts, first) if first else prompts
        batches = slices(ordered, job.rows_per_file)
    arranged_work = pc.sum(pc.equal(prompts["standing"], "work")).as_py() or 0
    reporter.counted(StageCounts(arranged=arranged_work))
    return pack(batches, [_highest(batch, first) for batch in batches] if first else ())


def _by_rank(prompts: pa.Table, priority: Priority) -> pa.Table:
    work, rest = split_work(prompts)
    ranks = priority.ranks([prompt.record for prompt in table_prompts(work)])
    order = sorted(range(len(ranks)), key=lambda at: -ranks[at])
    return pa.concat_tables([work.take(pa.array(order, pa.int64())), rest])


def _highest(batch: pa.Table, priority: Priority) -> float:
    """The highest rank of a batch; one without work is last."""
    work, _ = split_work(batch)
    return max(priority.ranks([p.record for p in table_prompts(work)]), default=LAST)


def _arranged_batches(
    prompts: pa.Table,
    job: Job,
    source: PromptSource,
    in_flight: float,
    lengths: Lengths | None,
    priority: Priority | None,
) -> list[pa.Table]:
    most = job.rows_per_file
    # A shuffle that Ray has to repeat may hand the rows on in another order.
    work, rest = split_work(prompts.sort_by([(name, "ascending") for name in STABLE_ORDER]))
    ordered, texts, groups = sharing_groups(table_prompts(work), job, source)
    if job.prompt.passages == "shared_first":
        work = prompts_table(ordered, ["work"] * len(ordered))
    answers = _expected_tokens(ordered, job, lengths)
    ranks = priority.ranks([prompt.record for prompt in ordered]) if priority else ()
    batches = split_batches(groups, most, in_flight, answers, least_rows(job), ranks)
    parts = [*(work.take(rows) for rows in batches), *slices(rest, most)]
    if job.engine.kind == "vllm" and texts:  # which alone says what its cache held
        parts.append(tally(prompts.schema, _predicted_sums(groups, texts, job)))
    return parts


def sharing_groups(
    prompts: list[Prompt], job: Job, source: PromptSource
) -> tuple[list[Prompt], list[str], list[PromptGroup]]:
    """Prompts with their passages in the job's order, their texts, and groups of both by number."""
    if job.prompt.passages == "shared_first":
        prompts = arranged(prompts, source)
    texts = ["\n".join(message.content for message in prompt.messages) for prompt in prompts]
    return prompts, texts, grouped(texts, papers_of(prompts))


def _expected_tokens(prompts: Sequence[Prompt], job: Job, lengths: Lengths | None) -> list[int]:
    """Tokens expected of each answer: by the length of earlier ones, or the job's words."""
    if lengths is None:
        return [answer_tokens(job)] * len(prompts)
    records = [prompt.record for prompt in prompts]
    questions = [question_key(record.question_id, record.question) for record in records]
    return lengths.expected([record.record_id for record in records], questions)


def _predicted_sums(
    groups: Sequence[PromptGroup], texts: Sequence[str], job: Job
) -> dict[str, int]:
    """How much of prompts in this order the prefix cache should hold in whole blocks."""
    block = block_tokens(job) * CHARACTERS_PER_TOKEN
    every = not shares_generations(job)
    generated = [
        (len(texts[number]), fresh)
        for group in groups
        for number, fresh in zip(group.prompts, group.fresh, strict=True)
        if fresh or every  # or it equals the one before
    ]
    cached = sum((length - fresh) // block * block for length, fresh in generated)
    return {
        "predicted_prompt_tokens": sum(n for n, _ in generated) // CHARACTERS_PER_TOKEN,
        "predicted_cached_tokens": cached // CHARACTERS_PER_TOKEN,
    }
