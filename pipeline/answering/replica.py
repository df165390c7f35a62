"""Stage: batches of prompts to outcomes, by an engine that stays in memory; one a replica."""

import asyncio
import platform
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from threading import Lock, Thread
from typing import Any

import pyarrow as pa

from pipeline.answering.checks import chosen_checks
from pipeline.answering.evaluate import Evaluator
from pipeline.answering.flushing import BatchAnswers, Flusher
from pipeline.answering.loop import AnsweringLoop
from pipeline.cluster.counters import EngineCounts
from pipeline.cluster.reporter import HEARTBEAT_SECONDS, Reporter
from pipeline.config.schema import Job
from pipeline.core.accounting import Totals
from pipeline.core.arrow import carry, receipt, split_work, table_prompts, unpack
from pipeline.core.errors import EngineError, OvernightError
from pipeline.core.records import Answered, Prompt
from pipeline.engines import model_of, most_attempts, open_engine, sampling_of
from pipeline.engines.engine import Engine
from pipeline.prompting.keys import canonical
from pipeline.prompting.template import PromptSource
from pipeline.store.ledger import answer_digest, answer_digests
from pipeline.store.reader import key_digest
from pipeline.store.schema import OUTCOMES, answers_table
from pipeline.store.sink import Sink

REPORT_SECONDS = 0.5
"""A replica reports its counts no more often than this, except at the end of a batch."""


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
        sink: Sink,
        reporter: Reporter = Reporter(),  # noqa: B008  it has no state
    ) -> None:
        self._job = job
        self._source = source
        self._sink = sink
        self._reporter = reporter
        self._loader = EngineLoader(job, source, reporter)
        self._flusher = Flusher(
            sink, reporter, job.output.flush_seconds, self._as_rows, self._count_stored
        )
        self._stop = StopSignal(reporter, self._report_counts)
        self._counts = EngineCounts()
        self._next_report: asyncio.TimerHandle | None = None
        reporter.state("placed")
        Thread(target=self._loader.load_ahead, daemon=True).start()

    async def __call__(self, batch: pa.Table) -> pa.Table:
        """Answers every `work` row of a packed batch; returns a receipt for all of its rows.

        Once the run is to end, those for which there was no time count as not read.
        """
        work, rest = split_work(unpack(batch))
        totals = await asyncio.to_thread(self._sink.write, carry(rest, OUTCOMES))
        if work.num_rows:
            try:
                totals.add(await self._answered(table_prompts(work)))
            except OvernightError as error:
                raise type(error)(str(error)) from None  # its causes may not travel to the driver
        return receipt(totals)

    async def _answered(self, prompts: Sequence[Prompt]) -> Totals:
        """Totals of the answers to these prompts, stored now or by an earlier try."""
        digests = [answer_digest(p.record.record_id, p.generation_key) for p in prompts]
        batch = self._flusher.begin(key_digest(*digests))
        try:
            stored = await self._stored_before(batch.digest, digests)
            found = Counter(answer_digests(stored))
            left = [p for p, d in zip(prompts, digests, strict=True) if not _took(found, d)]
            answered = await self._answer_all(left, batch)
        finally:
            totals = await self._flusher.finish(batch)
            self._report_counts()
        if answered:
            self._reporter.state("answering", (await self._loader.loaded()).engine.version)
        totals.add(Totals.of(stored))
        totals.sums["read"] -= len(left) - answered
        return totals

    async def _stored_before(self, batch: bytes, digests: Sequence[bytes]) -> pa.Table:
        parts = await self._reporter.parts_of(batch)
        return await asyncio.to_thread(self._sink.stored, parts, set(digests))

    async def _answer_all(self, prompts: Sequence[Prompt], batch: BatchAnswers) -> int:
        """Answers prompts; returns for how many there was time."""
        if not prompts or not await self._stop.may_begin():
            return 0
        self._add(EngineCounts(asked=len(prompts)))
        self._report_counts()  # at once: an engine without a model keeps the loop busy from here on
        tasks = [asyncio.create_task(self._answer(prompt, batch)) for prompt in prompts]
        every = asyncio.gather(*tasks)
        if await self._stop.comes_before(every):
            every.cancel()
            await asyncio.wait([every])
            self._add(EngineCounts(asked=-sum(task.cancelled() for task in tasks)))
        else:
            every.result()
        self._report_counts()
        return sum(not task.cancelled() and task.result() is None for task in tasks)

    async def _answer(self, prompt: Prompt, batch: BatchAnswers) -> None:
        loop = await self._loader.loaded()
        answer = await loop.answer(prompt)
        self._flusher.add(batch, answer)
        self._add(EngineCounts.of(answer))

    async def _as_rows(self, answers: Sequence[Answered]) -> pa.Table:
        columns = self._shared_columns((await self._loader.loaded()).engine)
        return await asyncio.to_thread(answers_table, answers, columns)

    def _count_stored(self, answers: int) -> None:
        self._add(EngineCounts(stored=answers))

    def _add(self, more: EngineCounts) -> None:
        """Adds to the replica's counts, which are reported soon, once for all added by then."""
        self._counts = self._counts.plus(more)
        if self._next_report is None:
            running = asyncio.get_running_loop()
            self._next_report = running.call_later(REPORT_SECONDS, self._report_counts)

    def _report_counts(self) -> None:
        if self._next_report is not None:
            self._next_report.cancel()
            self._next_report = None
        self._reporter.worked(self._counts, self._stop.is_stopping)

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


class EngineLoader:
    """Opens the engine of a replica once, in a thread, for all who wait for it."""

    def __init__(self, job: Job, source: PromptSource, reporter: Reporter) -> None:
        self._job = job
        self._source = source
        self._reporter = reporter
        self._lock = Lock()
        self._loading: Future[AnsweringLoop] | None = None
        self._deadline = 0.0

    def load_ahead(self) -> None:
        """Begins to load when the first record of work is known; blocks until then."""
        if self._reporter.wait_for_work():
            self._begin()

    async def loaded(self) -> AnsweringLoop:
        """Raises `EngineError` if the engine does not open, or not within `start_seconds`."""
        engine = self._job.engine
        loading = self._begin()
        if loading.done():
            return loading.result()
        try:
            seconds = self._deadline - time.monotonic()
            return await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(loading)), seconds)
        except TimeoutError as error:
            raise EngineError(
                f"engine.start_seconds: {engine.model or engine.kind} was not ready after "
                f"{engine.start_seconds} s on {platform.node()}"
            ) from error

    def _begin(self) -> "Future[AnsweringLoop]":
        with self._lock:
            if self._loading is None:
                self._loading = Future()
                self._deadline = time.monotonic() + self._job.engine.start_seconds
                Thread(target=self._load, args=(self._loading,), daemon=True).start()
            return self._loading

    def _load(self, loading: "Future[AnsweringLoop]") -> None:
        job = self._job
        try:
            self._reporter.state("loading")
            engine = open_engine(job, self._source.sample)
            self._reporter.state("ready", engine.version)
            evaluator = Evaluator(chosen_checks(job.checks), job.answer.max_words)
            loading.set_result(AnsweringLoop(engine, evaluator, most_attempts(job)))
        except BaseException as error:  # noqa: BLE001  raised where the engine is wanted
            loading.set_exception(error)


class StopSignal:
    """Whether the run is to end, as the coordinator says with every heartbeat of this replica."""

    def __init__(self, reporter: Reporter, on_stop: Callable[[], object]) -> None:
        self._reporter = reporter
        self._on_stop = on_stop
        self._asked = asyncio.Event()
        self.is_stopping = False
        self._deadline: asyncio.Task[None] | None = None

    async def may_begin(self) -> bool:
        """Whether the run goes on; waits for the first heartbeat to say so."""
        self._listen()
        await self._asked.wait()
        return not self.is_stopping

    async def comes_before(self, work: "asyncio.Future[Any]") -> bool:
        """Waits for the work and for the end of the time left to it; True if the latter is first.

        Raises what made the heartbeats fail: nothing counts as not read unless the run is to end.
        """
        deadline = self._listen()
        await asyncio.wait([work, deadline], return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            return False
        if not self.is_stopping:
            work.cancel()
            await deadline
        return True

    def _listen(self) -> "asyncio.Task[None]":
        self._deadline = self._deadline or asyncio.create_task(self._until_deadline())
        return self._deadline

    async def _until_deadline(self) -> None:
        try:
            while (seconds := await self._reporter.heartbeat()) is None or seconds > 0:
                if seconds is not None and not self.is_stopping:
                    self.is_stopping = True
                    self._on_stop()
                self._asked.set()
                await asyncio.sleep(min(HEARTBEAT_SECONDS, seconds or HEARTBEAT_SECONDS))
            self.is_stopping = True
        finally:
            self._asked.set()


def _took(found: Counter[bytes], digest: bytes) -> bool:
    """Takes one row of this digest, if there is any left."""
    found[digest] -= 1
    return found[digest] >= 0
