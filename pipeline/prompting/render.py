"""Stage: records to prompts under their keys, each with its standing against the store."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson
import pyarrow as pa

from pipeline.cluster.counters import StageCounts
from pipeline.cluster.identities import Identities
from pipeline.cluster.limit import Limit
from pipeline.cluster.reporter import Reporter
from pipeline.config.schema import Job
from pipeline.core.accounting import Totals
from pipeline.core.arrow import (
    PROMPTS,
    first_of_work,
    rejects_table,
    set_column,
    split_work,
    tally,
)
from pipeline.core.extra import dump_extra
from pipeline.core.identity import as_rows
from pipeline.core.records import Fault, ItemBlock, Prompt, Record, Reject
from pipeline.engines import generation_identity
from pipeline.prompting.carrying import with_carried
from pipeline.prompting.fit import Fit, fitting
from pipeline.prompting.keys import prompt_and_generation_key
from pipeline.prompting.own_ids import known_prompts, with_papers
from pipeline.prompting.template import PromptSource
from pipeline.store.ledger import Ledger, contains, reject_digest


def to_prompts(
    items: ItemBlock,
    job: Job,
    source: PromptSource,
    ledger: Callable[[], Ledger],
    index: Identities,
    limit: Limit | None = None,
    reporter: Reporter = Reporter(),  # noqa: B008  it has no state
    keeps_passages: bool = True,
    met: Callable[[ItemBlock, Sequence[Prompt]], object] = lambda *_: None,
) -> pa.Table:
    """Items as `PROMPTS`: those that the store holds are current, the others are work.

    Work beyond the limit, or of a run that is to end, counts as not read. `keeps_passages` if they
    are read again, beside the messages that repeat them. `met` is told of each block's prompts.
    """
    stored, identity, fit = ledger(), generation_identity(job), fitting(job)
    rendered = [prompt_of(record, source, identity(record), fit) for record in items.records]
    prompts = [item for item in rendered if isinstance(item, Prompt)]
    rejects = [item for item in rendered if isinstance(item, Reject)]
    made = zip(items.identities, rendered, strict=True)
    rows = as_rows(b"".join(digests for digests, item in made if isinstance(item, Prompt)))
    met(items, prompts)
    known = known_prompts(prompts, rows, stored, index, keeps_passages)
    counts = {"read": items.read, "stored_bytes": items.stored_bytes}
    table = pa.concat_tables(
        [
            with_carried(known, prompts, stored, job.output.carry),
            _rejects([*rejects, *items.rejects], stored),
            tally(PROMPTS, counts),
        ]
    )
    table = with_papers(table)
    if limit:
        table = first_of_work(table, limit.take(split_work(table)[0].num_rows))
    reporter.counted(StageCounts.of(Totals.of(table)))
    return table


def prompt_of(
    record: Record, source: PromptSource, identity: Mapping[str, Any], fit: Fit
) -> Prompt | Reject:
    """A record rendered under its keys, or why that is not possible."""
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
        **({"batch": orjson.Fragment(orjson.dumps(record.batch))} if record.batch else {}),
        "extra": orjson.Fragment(dump_extra(record.extra) or b"{}"),
    }
    return orjson.dumps(fields)


def _rejects(rejects: Sequence[Reject], ledger: Ledger) -> pa.Table:
    """Rejects as `PROMPTS`; the store holds some already, from the same place with that payload."""
    digests = [reject_digest(*reject.place, reject.payload) for reject in rejects]
    known = contains(ledger.rejects, digests)
    standings = ["rejected_before" if k else "rejected" for k in known]
    return set_column(rejects_table(rejects, PROMPTS), "standing", standings)
