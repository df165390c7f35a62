"""Checks everything that a run would need, and goes on after a fault to find the next one."""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from urllib.parse import urlsplit

from pipeline.answering.checks import chosen_checks
from pipeline.cluster.session import cluster, cluster_resources
from pipeline.config.schema import Job
from pipeline.core.arrow import split_work, table_records
from pipeline.core.errors import ConfigError, OvernightError
from pipeline.core.filesystem import Storage
from pipeline.core.records import Fault
from pipeline.core.text import plural
from pipeline.engines import check_endpoint, check_engine, open_engine
from pipeline.engines.model_files import ModelSpec, context_tokens
from pipeline.engines.tokenizer import load_encoder
from pipeline.engines.vllm_options import vllm_version
from pipeline.prompting.fit import fitting
from pipeline.prompting.template import PromptSource, load_prompt
from pipeline.reading.shards import Listing, list_shards
from pipeline.reading.source import read_tables
from pipeline.run.notify import WEBHOOK, check_webhook
from pipeline.store.ledger import Ledger

URL_VARIABLES = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "OPENAI_BASE_URL", WEBHOOK)

SAMPLED_SHARDS, SAMPLED_RECORDS = 8, 200

IF_TOO_LONG = "raise engine.options.max_model_len, or set input.overflow: drop_passages"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The result of one check; `exit_code` is what a run would end with, 0 if all is well."""

    name: str
    message: str
    exit_code: int = 0


def diagnose(job: Job) -> Iterator[Diagnosis]:
    """Makes one check after the other; each is a function of this file that returns a line."""
    checks: dict[str, Callable[[Job], str]] = {
        "engine": _engine,
        "model": _model,
        "checks": _checks,
        "template": _template,
        "input": _input,
        "records": _records,
        "output": _output,
        "links": _links,
        "cluster": _cluster,
    }
    for name, check in checks.items():
        try:
            yield Diagnosis(name, check(job))
        except OvernightError as error:
            yield Diagnosis(name, str(error), error.exit_code)


def _engine(job: Job) -> str:
    """Checks a vLLM engine without loading its model, which takes minutes."""
    check_engine(job)
    version = vllm_version() if job.engine.kind == "vllm" else open_engine(job).version
    return f"{job.engine.kind} {version}, replicas: {job.engine.replicas}"


def _model(job: Job) -> str:
    if job.engine.kind == "openai":
        return check_endpoint(job)
    if job.engine.kind != "vllm":
        return "not needed"
    model = ModelSpec.of(job)
    encoder, context = load_encoder(model), context_tokens(model)
    encoder.check_shape(_source(job).sample)
    template = "a chat template" if encoder.has_template else "no chat template: chats go as text"
    return f"{job.engine.model}: {context:,} tokens of context, {template}"


def _checks(job: Job) -> str:
    return ", ".join(f"{check.name} ({check.level})" for check in chosen_checks(job.checks))


def _template(job: Job) -> str:
    source = _source(job)
    return f"{source.name}, version {source.version}"


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
    """Renders the first records of a few shards; the job is at fault if most are too long.

    Other rejects may be faults of the input.
    """
    shards = _listing(job).shards
    source, fit = _source(job), fitting(job)
    prompts, faults = 0, Counter[str]()
    for shard in shards[:: max(len(shards) // SAMPLED_SHARDS, 1)][:SAMPLED_SHARDS]:
        for table in islice(read_tables([shard], job.input, Storage(job.storage)), 1):
            records, rest = split_work(table)
            faults.update(rest["reason"].drop_null().to_pylist())
            for record in table_records(records.slice(0, SAMPLED_RECORDS)):
                try:
                    fit(record, source)
                    prompts += 1
                except Fault as fault:
                    faults[f"{fault.reason} ({fault.detail})"] += 1
    message = f"{prompts:,} of {prompts + faults.total():,} sampled records make a prompt"
    too_long = sum(count for fault, count in faults.items() if fault.startswith("too_long"))
    if prompts and too_long <= prompts:
        return message + "".join(f"; {count:,} {fault}" for fault, count in faults.most_common(3))
    message = f"input: {message}: {faults.most_common(1)[0][0]}"
    raise ConfigError(f"{message}; {IF_TOO_LONG}" if too_long else message)


def _output(job: Job) -> str:
    """Writes an empty hidden file in the way in which parts are written.

    The file stays if it may not be deleted.
    """
    store = Storage(job.storage).at(job.output.uri)
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
    urls = {
        "storage.endpoint_url": job.storage.get("endpoint_url"),
        "engine.options.base_url": job.engine.options.get("base_url"),
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


def _source(job: Job) -> PromptSource:
    return load_prompt(job.prompt.template, job.answer.max_words)


def _listing(job: Job) -> Listing:
    return list_shards(job.input.uri, Storage(job.storage))
