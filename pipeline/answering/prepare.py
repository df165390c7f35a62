"""Looks at every part of a job before anything is started or changed."""

from dataclasses import dataclass

from pipeline.answering.checks import chosen_checks
from pipeline.config.schema import Job
from pipeline.config.selection import EVERYTHING, Selection
from pipeline.core.errors import ConfigError
from pipeline.core.filesystem import Location, Storage
from pipeline.engines import check_engine
from pipeline.prompting.template import PromptSource, load_prompt
from pipeline.reading.shards import Listing, list_shards

SAMPLE_BYTES = 4 * 2**20
"""Input whose prompts are looked at whole to estimate the prefix cache: some thousand."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A job that can run, with its template, its input and its store."""

    job: Job
    source: PromptSource
    storage: Storage
    listing: Listing
    store: Location
    selection: Selection = EVERYTHING

    @property
    def input_bytes(self) -> int:
        """As stored."""
        return sum(shard.size for shard in self.listing.shards)

    @property
    def bucket_bytes(self) -> int:
        """About what the bucket's share of the input holds."""
        return self.input_bytes // self.job.input.bucket.of

    @property
    def sampled_share(self) -> float:
        """The share of papers whose prompts are looked at whole: only vLLM says what it caches."""
        if self.job.engine.kind != "vllm":
            return 0.0
        return min(SAMPLE_BYTES / max(self.bucket_bytes, 1), 1.0)


def prepare(job: Job, selection: Selection = EVERYTHING) -> Prepared:
    """Raises `ConfigError` for anything in the job, its template or its input that cannot work."""
    check_engine(job)
    chosen_checks(job.checks)
    source = load_prompt(job.prompt.template, job.answer.max_words)
    if source.is_verbatim and job.prompt.passages != "as_given":
        raise ConfigError(
            f"prompt.passages: {job.prompt.passages} needs a template; verbatim prompts stay as "
            "they are"
        )
    storage = Storage(job.storage)
    store = storage.at(job.output.uri)
    listing = list_shards(job.input.uri, storage)
    read = [storage.at(job.input.uri).uri + "/", *(shard.uri for shard in listing.shards)]
    if f"{store.uri}/".startswith(read[0]) or any(u.startswith(f"{store.uri}/") for u in read):
        raise ConfigError(
            f"output.uri: {job.output.uri} is inside the input; the job would read its answers"
        )
    return Prepared(job, source, storage, listing, store, selection)
