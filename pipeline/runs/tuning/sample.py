"""A sample of a job's prompts, in the order in which a run would send them."""

from collections.abc import Iterator, Sequence
from itertools import chain, islice

from pipeline.answering.prepare import Prepared
from pipeline.core.errors import ConfigError
from pipeline.core.records import Prompt, Reject
from pipeline.engines import generation_identity
from pipeline.prompting.batching import sharing_groups
from pipeline.prompting.fit import fitting
from pipeline.prompting.render import prompt_of
from pipeline.reading.shards import Shard
from pipeline.reading.source import read_items
from pipeline.runs.preview import MOST_REJECTS, between_stages

SAMPLED_SHARDS = 8


def sampled_prompts(prepared: Prepared, records: int) -> list[Prompt]:
    """Up to so many prompts: neighbours from each of a few shards, which are evenly spread, then
    whatever follows. Raises `ConfigError` if no record makes one.
    """
    shards = prepared.listing.shards
    step = max(len(shards) // SAMPLED_SHARDS, 1)
    spread = shards[::step][:SAMPLED_SHARDS]
    others = [shard for shard in shards if shard not in spread]
    streams = [_prompts(prepared, part) for part in (*([shard] for shard in spread), others)]
    each = records // max(len(spread), 1)
    prompts = [prompt for stream in streams[:-1] for prompt in islice(stream, each)]
    prompts += islice(chain(*streams), records - len(prompts))
    if not prompts:
        raise ConfigError(
            f"input.uri: {prepared.job.input.uri}: no record makes a prompt; see overnight preview"
        )
    prompts, _, groups = sharing_groups(prompts, prepared.job, prepared.source)
    return [prompts[number] for group in groups for number in group.prompts]


def _prompts(prepared: Prepared, shards: Sequence[Shard]) -> Iterator[Prompt]:
    """The prompts of some shards, until too many records have made none."""
    job, rejects = prepared.job, 0
    identity, fit = generation_identity(job), fitting(job)
    for item in read_items(shards, job.input, prepared.storage) if shards else ():
        if isinstance(item, Reject):
            rejects += 1
        elif prepared.selection.covers(item) and job.input.bucket.holds(item.paper):
            record = between_stages(item)
            rendered = prompt_of(record, prepared.source, identity(record), fit)
            if isinstance(rendered, Prompt):
                yield rendered
            else:
                rejects += 1
        if rejects == MOST_REJECTS:
            return
