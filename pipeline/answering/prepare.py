"""Checks every part of a job before anything is started or changed."""

from dataclasses import dataclass, replace

from pipeline.answering.evaluate import Evaluator
from pipeline.answering.judge import Judge
from pipeline.config.schema import Job
from pipeline.config.selection import EVERYTHING, Selection
from pipeline.core.errors import ConfigError
from pipeline.core.filesystem import Location, Storage
from pipeline.engines import check_engine
from pipeline.engines.vllm_options import with_option_values
from pipeline.prompting.template import PromptSource, load_prompt
from pipeline.reading.shards import Listing, list_shards


@dataclass(frozen=True, slots=True)
class Prepared:
    """A job that can run, with its template, checks, judge, input and store."""

    job: Job
    source: PromptSource
    evaluator: Evaluator
    storage: Storage
    listing: Listing
    store: Location
    selection: Selection = EVERYTHING
    judge: Judge | None = None

    @property
    def reads_passages(self) -> bool:
        """Whether a record's passages are read again, once there is a prompt made of them: to put
        them in order, by the engine, or by a check of the user's own.
        """
        has_own_checks = any(check.digest for check in self.evaluator.checks)
        is_ordered = self.job.prompt.passages == "shared_first"
        return is_ordered or has_own_checks or self.job.engine.kind == "extractive"

    @property
    def reads_all(self) -> bool:
        """Whether a run takes in every record of a shard, and makes the same prompts of the same
        bytes each time.
        """
        is_all = not self.selection.only and self.selection.limit is None
        bucket, overflow = self.job.input.bucket, self.job.input.overflow
        return is_all and bucket.is_whole and overflow == "reject"

    @property
    def input_bytes(self) -> int:
        """Size of the whole input, as stored."""
        return sum(shard.size for shard in self.listing.shards)

    @property
    def bucket_bytes(self) -> int:
        """About the size of the job's bucket of the input."""
        return self.input_bytes // self.job.input.bucket.of


def prepare(job: Job, selection: Selection = EVERYTHING) -> Prepared:
    """Raises `ConfigError` if the job, its template or its input cannot work."""
    check_engine(job)
    job = with_option_values(job)
    evaluator = Evaluator.of(job)
    source = load_prompt(job.prompt.template, job.answer)
    if source.is_verbatim and job.prompt.passages != "as_given":
        raise ConfigError(
            f"prompt.passages: {job.prompt.passages} needs a template; verbatim prompts stay as "
            "they are"
        )
    judge = Judge.of(job)
    storage = Storage(job.storage)
    store = storage.at(job.output.uri)
    listing = list_shards(job.input.uri, storage)
    if job.input.store is None and _holds(storage.at(job.input.uri), listing, store):
        raise ConfigError(
            f"output.uri: {job.output.uri} is inside the input; the job would read its own answers"
        )
    if job.input.store and replace(selection, limit=None) != EVERYTHING:
        raise ConfigError(
            "--only, --retry: a job with input.store judges whatever lacks a judgement; leave them "
            "out, or see input.bucket and --limit"
        )
    chosen = selection.under(job.input.fields)
    return Prepared(job, source, evaluator, storage, listing, store, chosen, judge)


def _holds(root: Location, listing: Listing, store: Location) -> bool:
    """Whether an input has the store in it, or files of the store, perhaps by way of a link."""
    own = f"{store.real.uri}/"
    linked = [f"{Location(root.fs, path).uri}/" for path in listing.linked]
    return (
        any(own.startswith(folder) for folder in (f"{root.real.uri}/", *linked))
        or any(folder.startswith(own) for folder in linked)
        or any(shard.uri.startswith(f"{store.uri}/") for shard in listing.shards)
    )
