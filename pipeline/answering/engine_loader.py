"""Opens the engine of a replica once, for all batches that wait for it."""

import asyncio
import platform
import time
from concurrent.futures import Future
from threading import Lock, Thread

from pipeline.answering.evaluate import Evaluator
from pipeline.answering.judge import Judge
from pipeline.answering.loop import AnsweringLoop
from pipeline.cluster.reporter import Reporter
from pipeline.config.schema import Job
from pipeline.core.errors import EngineError
from pipeline.engines import most_attempts, open_engine
from pipeline.prompting.template import PromptSource


class EngineLoader:
    """Opens the engine of a replica once, in a thread, for all who wait for it."""

    def __init__(
        self,
        job: Job,
        source: PromptSource,
        evaluator: Evaluator,
        reporter: Reporter,
        judge: Judge | None = None,
    ) -> None:
        self._job = job
        self._source = source
        self._evaluator = evaluator
        self._reporter = reporter
        self._judge = judge
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
            engine = open_engine(job, self._source.sample, self._reporter.pacer)
            self._reporter.state("ready", engine.version)
            loop = AnsweringLoop(engine, self._evaluator, most_attempts(job), self._judge)
            loading.set_result(loop)
        except BaseException as error:  # noqa: BLE001  raised where the engine is wanted
            loading.set_exception(error)
