"""Looks at everything that a run would need, and goes on after a fault to find the next."""

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
from pipeline.engines import check_endpoint, check_engine, open_engine
from pipeline.engines.model_files import ModelSpec, context_tokens
from pipeline.engines.tokenizer import load_encoder
from pipeline.engines.vllm_options import vllm_version
from pipeline.prompting.fit import fitting
from pipeline.prompting.template import load_prompt
from pipeline.reading.shards import Listing, list_shards
from pipeline.reading.source import read_tables
from pipeline.run.notify import WEBHOOK, check_webhook
from pipeline.store.ledger import Ledger

ADDRESSES = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "OPENAI_BASE_URL", WEBHOOK)

SAMPLED_SHARDS, SAMPLED_RECORDS = 8, 200


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What one look found; `exit_code` is what a run would end with, 0 where all is well."""

    name: str
    said: str
    exit_code: int = 0


def examine(job: Job) -> Iterator[Diagnosis]:
    """Every look in turn; each one is a function of this file that says what it saw."""
    looks: dict[str, Callable[[Job], str]] = {
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
    for name, look in looks.items():
        try:
            yield Diagnosis(name, look(job))
        except OvernightError as error:
            yield Diagnosis(name, str(error), error.exit_code)


def _engine(job: Job) -> str:
    """Of a model that takes minutes to load, only what can be told without loading it."""
    check_engine(job)
    if job.engine.kind == "vllm":
        return f"vllm {vllm_version()}, {job.engine.replicas} replicas"
    engine = open_engine(job)
    return f"{engine.kind} {engine.version}, {job.engine.replicas} replicas"


def _model(job: Job) -> str:
    if job.engine.kind == "openai":
        return check_endpoint(job)
    if job.engine.kind != "vllm":
        return "none is needed"
    model = ModelSpec.of(job)
    encoder, context = load_encoder(model), context_tokens(model)
    source = load_prompt(job.prompt.template, job.answer.max_words)
    encoder.check_shape(source.sample)
    chat = "a chat template" if encoder.has_template else "no chat template, so that chats go plain"
    return f"{job.engine.model}: {context:,} tokens of context, {chat}"


def _checks(job: Job) -> str:
    return ", ".join(f"{check.name} ({check.level})" for check in chosen_checks(job.checks))


def _template(job: Job) -> str:
    source = load_prompt(job.prompt.template, job.answer.max_words)
    return f"{source.name}, version {source.version}"


def _input(job: Job) -> str:
    listing = _listing(job)
    size = sum(shard.size for shard in listing.shards)
    hidden = f", {listing.hidden} hidden files left aside" if listing.hidden else ""
    return f"{len(listing.shards):,} shards, {size / 2**20:,.1f} MiB{hidden}"


def _records(job: Job) -> str:
    """Reads and renders the beginning of a few shards; some rejects are no fault of the job's."""
    shards = _listing(job).shards
    sample = shards[:: max(len(shards) // SAMPLED_SHARDS, 1)][:SAMPLED_SHARDS]
    source, fit = load_prompt(job.prompt.template, job.answer.max_words), fitting(job)
    good, faults, reasons = 0, Counter[str](), Counter[str]()
    for shard in sample:
        for table in islice(read_tables([shard], job.input, Storage(job.storage)), 1):
            work, rest = split_work(table)
            faults.update(rest["reason"].drop_null().to_pylist())
            for record in table_records(work)[:SAMPLED_RECORDS]:
                try:
                    fit(record, source)
                    good += 1
                except Fault as fault:
                    reasons[fault.reason] += 1
                    faults[f"{fault.reason} ({fault.detail})"] += 1
    said = f"{good:,} of {good + faults.total():,} sampled make a prompt"
    if reasons["too_long"] > good:
        raise ConfigError(
            f"input: {said}: {faults.most_common(1)[0][0]}; raise engine.options.max_model_len, or "
            "set input.overflow: drop_passages"
        )
    if not good:
        raise ConfigError(f"input: {said}: {faults.most_common(1)[0][0]}")
    return said + "".join(f"; {n} {fault}" for fault, n in faults.most_common(3))


def _output(job: Job) -> str:
    """Writes a hidden file, empty, as parts will be written; whoever may not delete leaves it."""
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
    answers = len(ledger.answered) + len(ledger.failed)
    return f"can be written; holds {answers:,} answers, {len(ledger.failed):,} of them failed"


def _links(job: Job) -> str:
    """By which addresses of the job and of the environment anything leaves this machine."""
    check_webhook()
    asked = {
        "storage.endpoint_url": job.storage.get("endpoint_url"),
        "engine.options.base_url": job.engine.options.get("base_url"),
        **{name: os.environ.get(name) for name in ADDRESSES},
    }
    plain = [name for name, url in asked.items() if url and _is_in_the_clear(str(url))]
    if not plain:
        return "encrypted, or within this machine"
    return f"{', '.join(plain)}: http://, so that what is read and written travels in the clear"


def _is_in_the_clear(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "http" and parts.hostname not in ("localhost", "127.0.0.1", "::1")


def _cluster(job: Job) -> str:
    with cluster(job.engine):
        found = cluster_resources()
        return f"{found.get('CPU', 0):.0f} CPUs, {found.get('GPU', 0):.0f} GPUs"


def _listing(job: Job) -> Listing:
    return list_shards(job.input.uri, Storage(job.storage))
