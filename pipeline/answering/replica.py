"""The stages of the flow as plain functions from table to table; `flow.py` hands them to Ray."""

import asyncio
import platform
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeAlias

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.answering.checks import chosen_checks
from pipeline.answering.evaluate import Evaluator
from pipeline.answering.loop import AnsweringLoop
from pipeline.cluster.coordinator import ASK_SECONDS
from pipeline.cluster.counters import EngineCounts
from pipeline.config.schema import Job
from pipeline.core.arrow import (
    PROMPTS,
    build,
    carry,
    dump_extra,
    pack,
    prompts_table,
    rejects_table,
    set_column,
    split_work,
    structs_of_lists,
    table_prompts,
    table_records,
    unpack,
)
from pipeline.core.errors import EngineError, OvernightError
from pipeline.core.processes import settle
from pipeline.core.records import (
    Answered,
    Fault,
    Message,
    Prompt,
    Record,
    Reject,
    ReplicaState,
    Standing,
)
from pipeline.engines import (
    generation_identity,
    model_of,
    most_attempts,
    open_engine,
    sampling_of,
)
from pipeline.engines.engine import Engine
from pipeline.engines.token_budget import answer_tokens
from pipeline.prompting.cache_estimate import is_sampled, tokens_foretold
from pipeline.prompting.fit import Fit, fitting
from pipeline.prompting.grouping import grouped, split_batches
from pipeline.prompting.keys import canonical, prompt_and_generation_key
from pipeline.prompting.passage_order import arranged
from pipeline.prompting.template import PromptSource
from pipeline.store.ledger import Ledger, answer_digest, held, reject_digest
from pipeline.store.schema import OUTCOMES, answers_table

TELL_SECONDS = 0.5
"""A replica says no more often than this what it has done, but for the end of a table."""

IN_ORDER_OF = ("record_id", "source_uri", "source_row", "read", "stored_bytes")
"""Columns that tell any two rows of a table of prompts apart, tallies too."""


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
    known = _without_known_rejects(table, ledger)
    return set_column(known, "paper", _papers(known))


def _papers(rows: pa.Table) -> pa.ChunkedArray:
    """`Record.paper` of every row, and a reject's own id."""
    return pc.coalesce(rows["paper_id"], rows["record_id"])


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
    sets = (ledger.answered, ledger.failed, ledger.again)
    return [
        "current" if answered else "current_failed" if failed and not again else "work"
        for answered, failed, again in zip(*(held(s, digests) for s in sets), strict=True)
    ]


def within(prompts: pa.Table, take: Callable[[int], int]) -> pa.Table:
    """The prompts less the work for which `take` gives no leave, which counts as not read."""
    work, rest = split_work(prompts)
    left = work.num_rows - (given := take(work.num_rows))
    if not left:
        return prompts
    unread = build(PROMPTS, {"standing": ["tally"], "read": [-left], "stored_bytes": [0]}, 1)
    return pa.concat_tables([work.slice(0, given), rest, unread])


def _without_known_rejects(table: pa.Table, ledger: Ledger) -> pa.Table:
    """Marks the rejects that the store holds, from the same place with the same payload."""
    rejected = pc.equal(table["standing"], "rejected")
    rejects, rest = table.filter(rejected), table.filter(pc.invert(rejected))
    cells = (rejects[name].to_pylist() for name in ("source_uri", "source_row", "payload"))
    known = held(ledger.rejects, list(map(reject_digest, *cells)))
    standings = ["rejected_before" if k else "rejected" for k in known]
    return pa.concat_tables([rest, set_column(rejects, "standing", standings)])


def to_batches(
    prompts: pa.Table, job: Job, source: PromptSource, in_flight: float, sampled: float
) -> pa.Table:
    """Prompts as tables for the engines, a row each, none of more rows than a part may have.

    Where a model reads them, a paper's stand together and run in the order in which they share
    the most prefix. `in_flight` is how many of these tables are at work at a time. Of that share of
    the papers, `sampled`, the prompts travel once more in a table of their own, for `foretold`.
    """
    most = job.rows_per_file
    if not job.engine.generates:
        return pack(_slices(prompts, most))
    # A shuffle that Ray has to do again may hand them on in another order.
    work, rest = split_work(prompts.sort_by([(name, "ascending") for name in IN_ORDER_OF]))
    made = table_prompts(work)
    if job.prompt.passages == "shared_first":
        made = arranged(made, source)
        work = prompts_table(made, ["work"] * len(made))
    papers = [prompt.record.paper for prompt in made]
    texts = ["\n".join(message.content for message in prompt.messages) for prompt in made]
    tables = split_batches(grouped(texts, papers), most, in_flight, answer_tokens(job))
    chosen = [number for number, paper in enumerate(papers) if is_sampled(paper, sampled)]
    copies = set_column(
        work.take(pa.array(chosen, pa.int64())), "standing", ["sampled"] * len(chosen)
    )
    parts = [*(work.take(rows) for rows in tables), *_slices(rest, most)]
    return pack([*parts, copies] if chosen else parts)


def foretold(outcomes: pa.Table, job: Job) -> pa.Table:
    """The table with its `sampled` rows made a tally: what the prefix cache should hold of them.

    That takes a tokenizer, and seconds; it is done beside the engines, not before them.
    """
    sampled = pc.equal(outcomes["standing"], "sampled")
    if not pc.any(sampled).as_py():
        return outcomes
    copies = outcomes.filter(sampled)
    messages = structs_of_lists(copies["messages"], Message)
    tally = _tally(OUTCOMES, tokens_foretold(messages, _papers(copies).to_pylist(), job))
    return pa.concat_tables([outcomes.filter(pc.invert(sampled)), tally])


def _tally(schema: pa.Schema, sums: Mapping[str, int]) -> pa.Table:
    counted = {"read": 0, "stored_bytes": 0, **sums}
    columns = {"standing": ["tally"], **{name: [total] for name, total in counted.items()}}
    return build(schema, columns, 1)


def _first_attempts(answers: Sequence[Answered]) -> dict[str, int]:
    first = [answer.attempts[0].completion for answer in answers]
    return {
        "first_prompt_tokens": sum(completion.prompt_tokens for completion in first),
        "first_cached_tokens": sum(completion.cached_tokens for completion in first),
    }


def _slices(table: pa.Table, most_rows: int) -> list[pa.Table]:
    return [table.slice(at, most_rows) for at in range(0, table.num_rows, most_rows)]


Report: TypeAlias = Callable[[ReplicaState, str], None]
"""What a replica calls as it gets on, with its engine's version once that is known.

Raises `EngineError` where replicas have died too often to go on.
"""


def unreported(state: ReplicaState, engine_version: str) -> None:
    """For an answerer that nobody waits for."""


Tell: TypeAlias = Callable[[EngineCounts, bool], None]
"""What a replica calls now and then with all that it has done, and whether it begins nothing more;
does not wait."""


def untold(effort: EngineCounts, is_ending: bool) -> None:
    """For an answerer that nobody looks at."""


Ending: TypeAlias = Callable[[], Awaitable[float | None]]
"""What a replica asks, before its first table and now and then: the seconds that it has for what
is in flight, once the run is to end."""


async def never_ending() -> None:
    """For an answerer that is left in peace."""


class Answerer:
    """An engine that stays in memory, with the checks, for tables of prompts; one a replica.

    The engine is opened when the first table comes that holds work: a run with nothing to do loads
    no model. It works on several tables at a time, in one event loop and one batch. What comes out
    of a table is one table, in its order: Ray asks for it again after a crash, and would lose rows
    that left in an order that chance decides.

    *Crash window:* a table whose rows outgrow Ray's blocks leaves in several. Should the process
    die between them, the blocks asked for again may be cut elsewhere, and rows be lost or doubled
    at the cut; the run's accounting finds that, and the next run answers what was lost.
    """

    def __init__(
        self,
        job: Job,
        source: PromptSource,
        report: Report = unreported,
        tell: Tell = untold,
        ending: Ending = never_ending,
    ) -> None:
        settle(on_gpus=job.engine.gpus > 0)
        self._job = job
        self._source = source
        self._report = report
        self._tell = tell
        self._effort = EngineCounts()
        self._telling: asyncio.TimerHandle | None = None
        self._ending = ending
        self._has_asked, self._is_ending = asyncio.Event(), False
        self._end: asyncio.Task[None] | None = None
        self._opening: asyncio.Task[AnsweringLoop] | None = None
        report("placed", "")

    async def __call__(self, table: pa.Table) -> pa.Table:
        """Every `work` row of a packed table answered; the others ride along.

        Once the run is to end, those that there was no time for count as not read.
        """
        work, rest = split_work(unpack(table))
        if not work.num_rows:
            return carry(rest, OUTCOMES)
        try:
            answers = await self._answers(table_prompts(work))
        except OvernightError as error:
            raise type(error)(str(error)) from None  # its causes may not travel to the driver
        parts = [carry(rest, OUTCOMES)]
        if unread := work.num_rows - len(answers):
            self._tell_effort()
            parts.append(_tally(OUTCOMES, {"read": -unread}))
        if answers:
            engine = (await self._opened()).engine
            self._tell_effort()
            self._report("answering", engine.version)
            parts.append(answers_table(answers, self._shared_columns(engine)))
            parts.append(_tally(OUTCOMES, _first_attempts(answers)))
        return pa.concat_tables(parts)

    async def _answers(self, prompts: Sequence[Prompt]) -> list[Answered]:
        """Of all prompts in their order, but for those that there is no time for."""
        self._end = self._end or asyncio.create_task(self._told_to_end())
        await self._has_asked.wait()
        if self._is_ending:
            return []
        self._add(EngineCounts(asked=len(prompts)))
        self._tell_effort()  # at once: an engine without a model keeps the loop busy from here on
        asked = [asyncio.create_task(self._answer(prompt)) for prompt in prompts]
        every = asyncio.gather(*asked)
        either: list[asyncio.Future[Any]] = [every, self._end]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if every.done():
            return every.result()
        every.cancel()
        await asyncio.wait([every])
        if not self._is_ending:
            await self._end  # raises: nothing counts as not read unless the run is to end
        self._add(EngineCounts(asked=-sum(task.cancelled() for task in asked)))
        return [task.result() for task in asked if not task.cancelled()]

    async def _told_to_end(self) -> None:
        """Is over with the time that there is for what is in flight."""
        try:
            while (left := await self._ending()) is None:
                self._has_asked.set()
                await asyncio.sleep(ASK_SECONDS)
            self._is_ending = True
        finally:
            self._has_asked.set()
        self._tell_effort()
        await asyncio.sleep(left)

    async def _answer(self, prompt: Prompt) -> Answered:
        loop = await self._opened()
        answer = await loop.answer(prompt)
        self._add(EngineCounts.of(answer))
        return answer

    def _add(self, more: EngineCounts) -> None:
        """Adds to the replica's effort, which is told soon, once for all that happens till then."""
        self._effort = self._effort.plus(more)
        if self._telling is None:
            running = asyncio.get_running_loop()
            self._telling = running.call_later(TELL_SECONDS, self._tell_effort)

    def _tell_effort(self) -> None:
        if self._telling is not None:
            self._telling.cancel()
            self._telling = None
        self._tell(self._effort, self._is_ending)

    async def _opened(self) -> AnsweringLoop:
        """One opening for all tables that wait for it, and one failure."""
        self._opening = self._opening or asyncio.create_task(self._open())
        return await asyncio.shield(self._opening)

    async def _open(self) -> AnsweringLoop:
        job, seconds = self._job, self._job.engine.start_seconds
        try:
            self._report("loading", "")
            opening = asyncio.to_thread(open_engine, job, self._source.sample)
            engine = await asyncio.wait_for(opening, seconds)
        except TimeoutError as error:
            raise EngineError(
                f"engine.start_seconds: {job.engine.model or job.engine.kind} was not ready after "
                f"{seconds} s on {platform.node()}"
            ) from error
        self._report("ready", engine.version)
        evaluator = Evaluator(chosen_checks(job.checks), job.answer.max_words)
        return AnsweringLoop(engine, evaluator, most_attempts(job))

    def _shared_columns(self, engine: Engine) -> dict[str, str | None]:
        model, revision = model_of(self._job)
        return {
            "prompt_name": self._source.name,
            "prompt_version": self._source.version,
            "model": model,
            "model_revision": revision,
            "engine": engine.kind,
            "engine_version": engine.version,
            "sampling": canonical(sampling_of(self._job)).decode(),
        }
