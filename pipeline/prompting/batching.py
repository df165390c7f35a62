"""Stage: prompts to batches for the engines, arranged so that what they share is read once."""

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.cluster.counters import StageCounts
from pipeline.cluster.reporter import Reporter
from pipeline.config.schema import Job
from pipeline.core.arrow import (
    pack,
    prompts_table,
    set_column,
    split_work,
    structs_of_lists,
    table_prompts,
    tally,
)
from pipeline.core.records import Message
from pipeline.engines.token_budget import answer_tokens
from pipeline.prompting.cache_estimate import is_sampled, predicted_cache_tokens
from pipeline.prompting.grouping import grouped, split_batches
from pipeline.prompting.passage_order import arranged
from pipeline.prompting.render import first_of_work
from pipeline.prompting.template import PromptSource

STABLE_ORDER = ("record_id", "source_uri", "source_row", "read", "stored_bytes")
"""Columns that tell any two rows of a table of prompts apart, tallies too."""


def to_batches(
    prompts: pa.Table,
    job: Job,
    source: PromptSource,
    in_flight: float,
    sampled: float,
    reporter: Reporter = Reporter(),  # noqa: B008  it has no state
) -> pa.Table:
    """Prompts as `BATCHES`, one a row, none larger than a part of the store.

    If a model reads them, a paper's prompts stand together, in the order in which they share the
    most prefix. `in_flight` batches are at work at a time. The prompts of a share `sampled` of the
    papers travel once more in a batch of their own, for `with_prediction`.
    """
    if reporter.is_ending():
        prompts = first_of_work(prompts, 0)
    if job.engine.generates:
        batches = _arranged_batches(prompts, job, source, in_flight, sampled)
    else:
        batches = _slices(prompts, job.rows_per_file)
    arranged_work = pc.sum(pc.equal(prompts["standing"], "work")).as_py() or 0
    reporter.counted(StageCounts(arranged=arranged_work))
    return pack(batches)


def _arranged_batches(
    prompts: pa.Table, job: Job, source: PromptSource, in_flight: float, sampled: float
) -> list[pa.Table]:
    most = job.rows_per_file
    # A shuffle that Ray has to repeat may hand the rows on in another order.
    work, rest = split_work(prompts.sort_by([(name, "ascending") for name in STABLE_ORDER]))
    ordered = table_prompts(work)
    if job.prompt.passages == "shared_first":
        ordered = arranged(ordered, source)
        work = prompts_table(ordered, ["work"] * len(ordered))
    papers = [prompt.record.paper for prompt in ordered]
    texts = ["\n".join(message.content for message in prompt.messages) for prompt in ordered]
    batches = split_batches(grouped(texts, papers), most, in_flight, answer_tokens(job))
    chosen = [number for number, paper in enumerate(papers) if is_sampled(paper, sampled)]
    copies = work.take(pa.array(chosen, pa.int64()))
    parts = [*(work.take(rows) for rows in batches), *_slices(rest, most)]
    return [*parts, set_column(copies, "standing", ["sampled"] * len(chosen))] if chosen else parts


def with_prediction(outcomes: pa.Table, job: Job) -> pa.Table:
    """The table with its `sampled` rows replaced by a tally: what the prefix cache should hold.

    That takes a tokenizer, and seconds; so it is done beside the engines, not before them.
    """
    sampled = pc.equal(outcomes["standing"], "sampled")
    if not pc.any(sampled).as_py():
        return outcomes
    copies = outcomes.filter(sampled)
    messages = structs_of_lists(copies["messages"], Message)
    sums = predicted_cache_tokens(messages, job)
    return pa.concat_tables([outcomes.filter(pc.invert(sampled)), tally(outcomes.schema, sums)])


def _slices(table: pa.Table, most_rows: int) -> list[pa.Table]:
    return [table.slice(at, most_rows) for at in range(0, table.num_rows, most_rows)]
