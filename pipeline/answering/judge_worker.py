"""Stage: stored answers to judged ones, by an engine that stays in memory; one a replica."""

import asyncio
from collections.abc import Sequence

import pyarrow as pa

from pipeline.answering.engine_loader import EngineLoader
from pipeline.answering.evaluate import Evaluator
from pipeline.answering.judge import COLUMNS, Judge, Reply
from pipeline.answering.reservations import Reservations
from pipeline.answering.stop_signal import StopSignal
from pipeline.answering.stored_rows import Row, stored_prompt, stored_split
from pipeline.cluster.counters import EngineCounts
from pipeline.cluster.reporter import Reporter
from pipeline.config.schema import Job
from pipeline.core.accounting import Totals
from pipeline.core.arrow import receipt, unpack
from pipeline.core.errors import OvernightError
from pipeline.core.records import Completion
from pipeline.engines.engine import Engine
from pipeline.engines.token_budget import CHARACTERS_PER_TOKEN
from pipeline.prompting.template import PromptSource
from pipeline.store.judging import with_judgements
from pipeline.store.sink import Sink


class JudgeWorker:
    """Asks for verdicts on batches of stored answers, and stores those again that got one.

    Nothing is generated but verdicts. What was judged since the batch was made is left as it is.
    """

    def __init__(
        self,
        job: Job,
        source: PromptSource,
        evaluator: Evaluator,
        sink: Sink,
        judge: Judge,
        reporter: Reporter = Reporter(),  # noqa: B008  it has no state
    ) -> None:
        self._sink = sink
        self._judge = judge
        self._evaluator = evaluator
        self._reporter = reporter
        self._loader = EngineLoader(job, source, evaluator, reporter)
        self._counts = EngineCounts()
        self._stop = StopSignal(reporter, lambda: self._counts)
        self._reservations = Reservations(
            job, judge, reporter, self._stop, lambda: self._counts, self._add
        )
        reporter.state("placed")

    async def __call__(self, batch: pa.Table) -> pa.Table:
        """Judges a packed batch of stored rows; returns a receipt."""
        rows = unpack(batch)
        rows = rows.filter(pa.array(self._judge.lacking(rows.select(COLUMNS)), pa.bool_()))
        totals = Totals()
        try:
            while rows.num_rows:
                amounts = self._amounts(rows)
                if not (granted := await self._reservations.granted(amounts)):
                    break
                totals.add(await self._judged(rows.slice(0, granted), amounts))
                rows = rows.slice(granted)
        except OvernightError as error:
            raise type(error)(str(error)) from None  # its causes may not travel to the driver
        return receipt(totals)

    def _amounts(self, rows: pa.Table) -> list[float]:
        """The most that each verdict costs, by the lengths of the stored conversations."""
        turn = self._judge.template.estimated_tokens
        lengths = [
            sum(len(m["content"]) for m in messages or ()) + len(completion or "")
            for messages, completion in zip(
                rows["messages"].to_pylist(), rows["completion"].to_pylist(), strict=True
            )
        ]
        tokens = (length // CHARACTERS_PER_TOKEN + turn for length in lengths)
        return [self._reservations.most_of_verdict(each) for each in tokens]

    async def _judged(self, rows: pa.Table, amounts: Sequence[float]) -> Totals:
        engine = (await self._loader.loaded()).engine
        begun = zip(rows.to_pylist(), amounts, strict=False)
        tasks = [asyncio.create_task(self._reply(row, amount, engine)) for row, amount in begun]
        every = asyncio.gather(*tasks)
        if await self._stop.comes_before(every):
            every.cancel()
            await asyncio.gather(every, return_exceptions=True)
        else:
            every.result()
            self._add(EngineCounts(batches=1))
        await self._stop.report()
        replies = [None if task.cancelled() else task.result() for task in tasks]
        return await asyncio.to_thread(self._store, rows, replies)

    async def _reply(self, row: Row, reserved: float, engine: Engine) -> Reply:
        reasoning = row["reasoning"]
        split = stored_split(row["completion"], reasoning) if reasoning else None
        completion = self._evaluator.split(Completion(row["completion"], None, split=split))
        reply = await self._judge.ask(stored_prompt(row, "", {}), completion, row, engine)
        self._reservations.settle_verdict(reply.counts, reserved)
        return reply

    def _add(self, more: EngineCounts) -> None:
        self._counts = self._counts.plus(more)

    def _store(self, rows: pa.Table, replies: Sequence[Reply | None]) -> Totals:
        """Stores the rows that got a judgement; counts all that were asked for."""
        given = [r.judgement for r in replies if r and r.judgement]
        judged = [bool(r and r.judgement) for r in replies]
        totals = Totals()
        for reply in filter(None, replies):
            totals.sums.update(reply.counts.nonzero)
        if given:
            rows = with_judgements(rows.filter(pa.array(judged)), given)
            size = self._sink.writer.write_as_it_is(self._sink.new_answers(), rows)
            totals.sums.update(parts=1, part_bytes=size, judged_again=len(given))
        return totals
