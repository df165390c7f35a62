"""Stage: batches of prompts to stored answers, by an engine that stays in memory; one a replica."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from threading import Thread

import pyarrow as pa

from pipeline.answering.engine_loader import EngineLoader
from pipeline.answering.evaluate import Evaluator
from pipeline.answering.flushing import BatchAnswers, Flusher
from pipeline.answering.judge import Judge
from pipeline.answering.reservations import Reservations
from pipeline.answering.sharing import equal_prompts
from pipeline.answering.stop_signal import StopSignal
from pipeline.cluster.counters import EngineCounts
from pipeline.cluster.reporter import Reporter
from pipeline.config.schema import Job
from pipeline.core.accounting import Totals
from pipeline.core.arrow import carry, receipt, split_work, table_prompts, unpack
from pipeline.core.errors import OvernightError
from pipeline.core.records import Answered, Prompt
from pipeline.engines import model_of, sampling_of, settings_of
from pipeline.engines.engine import Engine
from pipeline.engines.token_budget import estimated_tokens
from pipeline.prompting.keys import canonical
from pipeline.prompting.template import PromptSource
from pipeline.store.filling import outdated_in
from pipeline.store.judging import CurrentAnswers
from pipeline.store.ledger import answer_digest
from pipeline.store.reader import key_digest, row_keys
from pipeline.store.schema import OUTCOMES, answers_table
from pipeline.store.sink import Sink


class BatchWorker:
    """Answers batches with one engine and its checks, several at a time in one event loop.

    The model begins to load as soon as any record of the run is known to need an answer, while
    other stages still read and arrange; a run with nothing to do loads no model. A replica stores
    what it has answered itself, and hands on a receipt for each batch. Ray asks for a batch again
    after a crash: what the store has of it by then is not generated again.
    """

    def __init__(
        self,
        job: Job,
        source: PromptSource,
        evaluator: Evaluator,
        sink: Sink,
        reporter: Reporter = Reporter(),  # noqa: B008  it has no state
        judge: Judge | None = None,
    ) -> None:
        self._job = job
        self._source = source
        self._sink = sink
        self._reporter = reporter
        self._loader = EngineLoader(job, source, evaluator, reporter, judge)
        self._flusher = Flusher(
            sink, reporter, job.output.flush_seconds, self._as_rows, self._count_stored
        )
        self._counts = EngineCounts()
        self._stop = StopSignal(reporter, lambda: self._counts)
        self._reservations = Reservations(
            job, judge, reporter, self._stop, lambda: self._counts, self._add
        )
        reporter.state("placed")
        Thread(target=self._loader.load_ahead, daemon=True).start()

    async def __call__(self, batch: pa.Table) -> pa.Table:
        """Answers every `work` row of a packed batch; returns a receipt for all of its rows, and
        one each of the current rows that may lack columns or a judgement.

        Once the run is to end, those for which there was no time count as not read.
        """
        work, rest = split_work(unpack(batch))
        totals = await asyncio.to_thread(self._sink.write, carry(rest, OUTCOMES))
        outdated = outdated_in(rest, self._job.output.carry)
        if work.num_rows:
            try:
                totals.add(await self._answered(table_prompts(work)))
            except OvernightError as error:
                raise type(error)(str(error)) from None  # its causes may not travel to the driver
        receipts = [receipt(totals), *([receipt(outdated)] if outdated.num_rows else [])]
        if self._job.judge:
            receipts.append(receipt(CurrentAnswers.among(rest)))
        return pa.concat_tables(receipts)

    async def _answered(self, prompts: Sequence[Prompt]) -> Totals:
        """Totals of the answers to these prompts, stored now or by an earlier try."""
        digests = [answer_digest(p.record.record_id, p.generation_key) for p in prompts]
        batch, answered = self._flusher.begin(key_digest(*digests)), 0
        try:
            stored = await self._stored_before(batch.digest, digests)
            found = Counter(row_keys(stored))
            left = [p for p, d in zip(prompts, digests, strict=True) if not _took(found, d)]
            answered = await self._answer_all(left, batch)
        finally:
            totals = await self._flusher.finish(batch)
            self._add(EngineCounts(batches=answered > 0))
            await self._stop.report()  # before the receipt: the driver asks if it was the last
        totals.add(Totals.of(stored))
        totals.sums["read"] -= len(left) - answered
        return totals

    async def _stored_before(self, batch: bytes, digests: Sequence[bytes]) -> pa.Table:
        parts = await self._reporter.parts_of(batch)
        return await asyncio.to_thread(self._sink.stored, parts, set(digests))

    async def _answer_all(self, prompts: Sequence[Prompt], batch: BatchAnswers) -> int:
        """Answers prompts, equal ones together; returns for how many there was time and money."""
        groups, answered = equal_prompts(prompts, self._job), 0
        while groups:
            amounts = [self._reservations.most(g[0].messages, _own_limit(g[0])) for g in groups]
            if not (granted := await self._reservations.granted(amounts)):
                break
            answered += await self._answer_groups(groups[:granted], amounts, batch)
            groups = groups[granted:]
        return answered

    async def _answer_groups(
        self, groups: Sequence[tuple[Prompt, ...]], amounts: Sequence[float], batch: BatchAnswers
    ) -> int:
        """Answers groups of equal prompts, for which these amounts are reserved; returns for how
        many prompts there was time.
        """
        prompts = sum(map(len, groups))
        self._add(EngineCounts(asked=prompts))
        # At once: an engine without a model keeps the loop busy from here on.
        self._reporter.worked(self._counts, self._stop.is_stopping)
        begun = zip(groups, amounts, strict=False)
        tasks = [asyncio.create_task(self._answer(*group, batch)) for group in begun]
        every = asyncio.gather(*tasks)
        if await self._stop.comes_before(every):
            every.cancel()
            await asyncio.gather(every, return_exceptions=True)
        else:
            every.result()
        answered = sum(0 if task.cancelled() else task.result() for task in tasks)
        self._add(EngineCounts(asked=answered - prompts))
        return answered

    async def _answer(self, prompts: Sequence[Prompt], reserved: float, batch: BatchAnswers) -> int:
        """Answers prompts of one generation key; returns how many they are."""
        loop = await self._loader.loaded()
        answers = await loop.answer_equal(prompts)
        self._flusher.add(batch, answers)
        self._reservations.settle(answers, reserved)
        if self._job.engine.generates:
            batch.totals.sums["estimated_prompt_tokens"] += estimated_tokens(prompts[0].messages)
        for answer in answers:
            batch.totals.sums.update(answer.judging.nonzero)
            self._add(EngineCounts.of(answer))
        return len(answers)

    async def _as_rows(self, answers: Sequence[Answered]) -> pa.Table:
        columns = self._shared_columns((await self._loader.loaded()).engine)
        carry = self._job.output.carry
        return await asyncio.to_thread(answers_table, answers, columns, carry)

    def _count_stored(self, answers: int) -> None:
        self._add(EngineCounts(stored=answers))

    def _add(self, more: EngineCounts) -> None:
        """Adds to the replica's counts, which go with its next heartbeat."""
        self._counts = self._counts.plus(more)

    def _shared_columns(self, engine: Engine) -> dict[str, str | None]:
        model, revision = model_of(self._job)
        return {
            "prompt_name": self._source.name,
            "prompt_version": self._source.version,
            "model": model,
            "model_revision": revision,
            "adapter": self._job.engine.adapter,
            "engine": engine.kind,
            "engine_version": engine.version,
            "sampling": canonical(sampling_of(self._job)).decode(),
            "settings": canonical(settings_of(self._job)).decode(),
        }


def _own_limit(prompt: Prompt) -> int | None:
    """The token limit that the record's own line sets."""
    line = prompt.record.batch
    return line.sampling.get("max_tokens") if line else None


def _took(found: Counter[bytes], digest: bytes) -> bool:
    """Takes one row of this digest, if there is any left."""
    found[digest] -= 1
    return found[digest] >= 0
