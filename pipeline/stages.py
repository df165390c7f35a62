"""The stages of the flow as plain functions from table to table; `flow.py` hands them to Ray."""

import asyncio
import gc
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import Any, TypeAlias

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.answering.loop import AnsweringLoop
from pipeline.checks import chosen_checks
from pipeline.config import Job
from pipeline.engines import (
    generation_identity,
    model_of,
    most_attempts,
    open_engine,
    sampling_of,
)
from pipeline.faults import Fault
from pipeline.model import Prompt, Record, Reject, ReplicaState, Standing
from pipeline.prompting.fit import Fit, fitting
from pipeline.prompting.keys import canonical, prompt_and_generation_key
from pipeline.prompting.template import PromptSource
from pipeline.store.ledger import Ledger, answer_digest, held, reject_digest
from pipeline.store.schema import OUTCOMES, answers_table
from pipeline.tables import (
    PROMPTS,
    carry,
    dump_extra,
    prompts_table,
    rejects_table,
    split_work,
    table_prompts,
    table_records,
)
from pipeline.totals import Totals

CHARACTERS_PER_TOKEN = 4
"""Of English prose under common tokenizers; an estimate, and called one wherever it is shown."""


@cache
def settle() -> None:
    """Sets a worker's process up for a night of tables, once.

    The garbage collector would walk over Ray's and pandas's modules again and again, which takes
    a tenth of the time. Arrow's default allocator keeps what blocks have left; jemalloc, where the
    build has it, gives it back.
    """
    gc.collect()
    gc.freeze()
    with suppress(NotImplementedError):
        pa.set_memory_pool(pa.jemalloc_memory_pool())


def to_prompts(items: pa.Table, job: Job, source: PromptSource, ledger: Ledger) -> pa.Table:
    """Records rendered and keyed; those that the ledger holds are current, the others are work."""
    work, rest = split_work(items)
    identity, fit = generation_identity(job), fitting(job)
    made = [_prompt(record, source, identity(record), fit) for record in table_records(work)]
    prompts = [p for p in made if isinstance(p, Prompt)]
    rejects = [p for p in made if isinstance(p, Reject)]
    table = pa.concat_tables(
        [
            prompts_table(prompts, _standings(prompts, ledger)),
            rejects_table(rejects, PROMPTS),
            carry(rest, PROMPTS),
        ]
    )
    return _without_known_rejects(table, ledger)


def _prompt(
    record: Record, source: PromptSource, identity: Mapping[str, Any], fit: Fit
) -> Prompt | Reject:
    try:
        fitted, (messages, boilerplate) = fit(record, source)
    except Fault as fault:
        return fault.at(record.place, _payload(record), record.record_id)
    return Prompt(fitted, messages, boilerplate, *prompt_and_generation_key(messages, identity))


def _payload(record: Record) -> bytes:
    """What the template was given, as JSON."""
    fields = {
        "record_id": record.record_id,
        "paper_id": record.paper_id,
        "question_id": record.question_id,
        "question": record.question,
        "passages": [passage._asdict() for passage in record.passages],
        "messages": [message._asdict() for message in record.messages],
        "recorded_answer": record.recorded_answer,
        "extra": orjson.Fragment(dump_extra(record.extra) or b"{}"),
    }
    return orjson.dumps(fields)


def _standings(prompts: Sequence[Prompt], ledger: Ledger) -> list[Standing]:
    digests = [answer_digest(p.record.record_id, p.generation_key) for p in prompts]
    return [
        "current" if answered else "current_failed" if failed else "work"
        for answered, failed in zip(
            held(ledger.answered, digests), held(ledger.failed, digests), strict=True
        )
    ]


def _without_known_rejects(table: pa.Table, ledger: Ledger) -> pa.Table:
    """Marks the rejects that the store holds, from the same place with the same payload."""
    rejected = pc.equal(table["standing"], "rejected")
    rejects, rest = table.filter(rejected), table.filter(pc.invert(rejected))
    cells = (rejects[name].to_pylist() for name in ("source_uri", "source_row", "payload"))
    known = held(ledger.rejects, list(map(reject_digest, *cells)))
    standings = pa.array(["rejected_before" if k else "rejected" for k in known], pa.string())
    at = table.schema.get_field_index("standing")
    return pa.concat_tables([rest, rejects.set_column(at, "standing", standings)])


Report: TypeAlias = Callable[[ReplicaState, str], None]
"""What a replica calls as it gets on, with its engine's version once that is known."""


def unreported(state: ReplicaState, engine_version: str) -> None:
    """For an answerer that nobody waits for."""


class Answerer:
    """An engine that stays in memory, with the checks, for tables of prompts; one a replica.

    It works on several tables at a time, in one event loop and one batch of the engine. What comes
    out of a table is one table: Ray asks for it again after a crash, and takes up where it left off
    by counting, so that rows must not leave in an order that chance decides.
    """

    def __init__(self, job: Job, source: PromptSource, report: Report = unreported) -> None:
        settle()
        report("loading", "")
        engine = open_engine(job, source.sample)
        report("ready", engine.version)
        model, revision = model_of(job)
        checks = chosen_checks(job.checks)
        self._loop = AnsweringLoop(engine, checks, job.answer.max_words, most_attempts(job))
        self._constants = {
            "prompt_name": source.name,
            "prompt_version": source.version,
            "model": model,
            "model_revision": revision,
            "engine": engine.kind,
            "engine_version": engine.version,
            "sampling": canonical(sampling_of(job)).decode(),
        }

    async def __call__(self, prompts: pa.Table) -> pa.Table:
        """Every `work` row answered; the others ride along."""
        work, rest = split_work(prompts)
        answers = await asyncio.gather(*map(self._loop.answer, table_prompts(work)))
        return pa.concat_tables([answers_table(answers, self._constants), carry(rest, OUTCOMES)])


def measure(prompts: pa.Table) -> pa.Table:
    """The totals of a table of prompts as a receipt, with the tokens that its work would take."""
    work, _ = split_work(prompts)
    contents = work["messages"].combine_chunks().flatten().field("content")
    characters = pc.sum(pc.utf8_length(contents)).as_py() or 0
    totals = Totals.of(prompts, estimated_prompt_tokens=characters // CHARACTERS_PER_TOKEN)
    return totals.receipt()
