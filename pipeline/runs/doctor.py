"""Checks everything that a run would need, and goes on after a fault to find the next one."""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from pipeline.answering.checks import chosen_checks
from pipeline.answering.judge import Judge
from pipeline.cluster.session import cluster, cluster_resources
from pipeline.config.schema import Job
from pipeline.core.errors import ConfigError, OvernightError
from pipeline.core.filesystem import Location, Storage
from pipeline.core.own_id import lines_about
from pipeline.core.storage_options import endpoints
from pipeline.core.text import plural
from pipeline.engines import check_endpoint, check_engine, open_engine
from pipeline.engines.adapter import adapter_of
from pipeline.engines.model_files import ModelSpec, context_tokens
from pipeline.engines.openai_options import endpoint_of
from pipeline.engines.parallelism import describe_gpus
from pipeline.engines.token_ids import check_token_ids
from pipeline.engines.tokenizer import load_encoder
from pipeline.engines.vllm_options import vllm_version, with_option_values
from pipeline.prompting.template import PromptSource, load_prompt
from pipeline.reading.shards import Listing, list_shards
from pipeline.runs.notify import WEBHOOK, check_webhook
from pipeline.runs.sample import take_sample
from pipeline.runs.thinking import described_thinking
from pipeline.store.ledger import Ledger

URL_VARIABLES = (
    *("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "STORAGE_EMULATOR_HOST", "HF_ENDPOINT"),
    *("OPENAI_BASE_URL", WEBHOOK),
)

IF_TOO_LONG = "raise engine.options.max_model_len, or set input.overflow: drop_passages"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The result of one check; `exit_code` is what a run would end with, 0 if all is well."""

    name: str
    message: str
    exit_code: int = 0


def diagnose(job: Job) -> Iterator[Diagnosis]:
    """Makes one check after the other; each is a function of this file that returns a line.

    What several checks find is said once.
    """
    with suppress(ConfigError):  # the first check raises it again
        job = with_option_values(job)
    checks: dict[str, Callable[[Job], str]] = {
        "engine": _engine,
        "model": _model,
        "checks": _checks,
        "template": _template,
        "input": _input,
        "output": _output,
        "records": _records,
        "links": _links,
        "cluster": _cluster,
    }
    said: dict[str, str] = {}
    for name, check in checks.items():
        try:
            yield Diagnosis(name, check(job))
        except OvernightError as error:
            first = said.setdefault(str(error), name)
            message = str(error) if first == name else f"not checked, because of {first}"
            yield Diagnosis(name, message, error.exit_code)


def _engine(job: Job) -> str:
    """Checks a vLLM engine without loading its model, which takes minutes."""
    check_engine(job)
    version = vllm_version() if job.engine.kind == "vllm" else open_engine(job).version
    said = f"{job.engine.kind} {version}, replicas: {job.engine.replicas}"
    return f"{said}, {describe_gpus(job.engine)}" if job.engine.gpus else said


def _model(job: Job) -> str:
    if job.engine.kind == "openai":
        return check_endpoint(job)
    if job.engine.kind != "vllm":
        return "not needed"
    model = ModelSpec.of(job)
    encoder, context = load_encoder(model), context_tokens(model)
    encoder.check_shape(_source(job).sample)
    check_token_ids(job)
    said = f"{job.engine.model}: {context:,} tokens of context, {encoder.described_template}"
    if adapter := adapter_of(job, weights=False):
        said += f"; adapter {adapter.name}, rank {adapter.rank}"
    return f"{said}; {described_thinking(job)}"


def _checks(job: Job) -> str:
    return ", ".join(f"{check.name} ({check.level})" for check in chosen_checks(job.checks))


def _template(job: Job) -> str:
    source, judge = _source(job), Judge.of(job)
    said = f"{source.name}, version {source.version}"
    return f"{said}; {judge.rater}" if judge else said


def _input(job: Job) -> str:
    listing = _listing(job)
    unreadable = [shard for shard in listing.shards if shard.fault]
    size = sum(shard.size for shard in listing.shards)
    said = f"{plural(len(listing.shards) - len(unreadable), 'shard')}, {size / 2**20:,.1f} MiB"
    if listing.hidden:
        said += f", {listing.hidden:,} hidden skipped"
    if unreadable:
        first = f"{unreadable[0].uri}: {unreadable[0].fault}"
        said += f"; {len(unreadable):,} unreadable, to be rejected; the first: {first}"
    return said


def _records(job: Job) -> str:
    """Renders a sample of the records; the job is at fault if too few of them make a prompt."""
    if job.input.store and (judge := Judge.of(job)):
        held = Ledger.of(_store(job), bucket=job.input.bucket, unjudged=judge.unjudged)
        answers = plural(len(held.answered) + len(held.failed), "answer")
        return f"{answers} in the store, {len(held.unjudged):,} of them to judge"
    shards, ledger = _listing(job).shards, Ledger.of(_store(job))
    sample, ids = take_sample(job, shards, _source(job), ledger)
    said = f"{sample.prompts:,} of {sample.records:,} sampled records make a prompt"
    said = "; ".join([said, *sample.described()])
    if sample.prompts < sample.reasons["too_long"]:
        raise ConfigError(f"input: {said}; {IF_TOO_LONG}")
    if sample.rejected_share > job.reject_budget:
        raise ConfigError(f"input: {said}; reject_budget is {job.reject_budget:g}")
    return "; ".join([said, *lines_about(ids)])


def _output(job: Job) -> str:
    """Writes an empty hidden file in the way in which parts are written.

    The file stays if it may not be deleted.
    """
    store = _store(job)
    ledger = Ledger.of(store)
    probe = store.join(".overnight-doctor")
    if job.output.append_only:
        with suppress(FileExistsError):
            probe.create(b"")
    else:
        probe.write_whole(b"")
        with suppress(Exception):
            probe.fs.rm_file(probe.path)
    answers = plural(len(ledger.answered) + len(ledger.failed), "answer")
    return f"writable; holds {answers}, {len(ledger.failed):,} of them failed"


def _links(job: Job) -> str:
    """Names the URLs, of the job or the environment, that send data unencrypted."""
    check_webhook()
    asked = endpoint_of(job).base_urls if job.engine.kind == "openai" else []
    urls = {
        **endpoints(job.storage),
        "engine.options.base_url": next(filter(_is_unencrypted, asked), None),
        **{name: os.environ.get(name) for name in URL_VARIABLES},
    }
    plain = [name for name, url in urls.items() if url and _is_unencrypted(str(url))]
    if not plain:
        return "encrypted, or within this machine"
    return f"{', '.join(plain)}: http://, so data is read and written unencrypted"


def _is_unencrypted(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "http" and parts.hostname not in ("localhost", "127.0.0.1", "::1")


def _cluster(job: Job) -> str:
    with cluster(job.engine):
        resources = cluster_resources()
    cpus, gpus = (int(resources.get(kind, 0)) for kind in ("CPU", "GPU"))
    return f"{plural(cpus, 'CPU')}, {plural(gpus, 'GPU')}"


def _store(job: Job) -> Location:
    return Storage(job.storage).at(job.output.uri)


def _source(job: Job) -> PromptSource:
    return load_prompt(job.prompt.template, job.answer)


def _listing(job: Job) -> Listing:
    return list_shards(job.input.uri, Storage(job.storage))
