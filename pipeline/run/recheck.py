"""Evaluates stored completions again, part by part; no engine takes part."""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.answering.checks import chosen_checks
from pipeline.answering.evaluate import Evaluator
from pipeline.answering.recheck import Boilerplates, Rechecked, recheck_rows
from pipeline.cluster.executor import Executor
from pipeline.cluster.in_process import executor_for
from pipeline.config.schema import Job
from pipeline.core.arrow import receipt
from pipeline.core.filesystem import Location, Storage
from pipeline.prompting.template import load_prompt
from pipeline.run.recorder import RunRecorder
from pipeline.store.parts import PartWriter, read_batches
from pipeline.store.reader import counting_rows
from pipeline.store.run_file import RunFile
from pipeline.store.runs import all_runs
from pipeline.store.schema import ANSWERS, ANSWERS_FOLDER
from pipeline.store.sink import Sink


def recheck_store(
    job: Job,
    progress: Callable[[Rechecked], object],
    debug: bool = False,
    executor: Executor | None = None,
) -> tuple[str, Rechecked]:
    """Evaluates a store's answers again; returns the id of the run that did, and what changed.

    Rows whose evaluation changed are stored anew.
    """
    storage = Storage(job.storage)
    store = storage.at(job.output.uri)
    source = load_prompt(job.prompt.template, job.answer.max_words)
    boilerplates = Boilerplates.of_runs(all_runs(store), job.input.text)
    file = RunFile.new(store, job, source.described(), "recheck")
    stored_bytes = sum(store.join(ANSWERS_FOLDER).files().values())
    changes = Rechecked()
    with (
        RunRecorder(file, None, lambda _: None) as record,
        executor or executor_for(stored_bytes, debug) as running,
    ):
        record.timings.cluster_ready = record.timings.now()
        for of_part in _changes(store, job, boilerplates, storage, file.run_id, running):
            changes.add(of_part)
            progress(changes)
    if record.document["status"] == "interrupted":
        raise KeyboardInterrupt
    return file.run_id, changes


def _changes(
    store: Location,
    job: Job,
    boilerplates: Boilerplates,
    storage: Storage,
    run_id: str,
    executor: Executor,
) -> Iterator[Rechecked]:
    """What changed in each part."""
    parts = [part for part in counting_rows(store.join(ANSWERS_FOLDER)) if part.counts.any()]
    evaluator = Evaluator(chosen_checks(job.checks), job.answer.max_words)
    writer = PartWriter(run_id, append_only=job.output.append_only)
    sink = Sink(job.output.uri, storage, writer, job.rows_per_file)
    check = partial(_recheck_part, sink=sink, evaluator=evaluator, boilerplates=boilerplates)
    tasks = [(partial(check, part.path, part.counts), len(part.keys)) for part in parts]
    return executor.read(tasks).receipts() if tasks else iter(())


def _recheck_part(
    path: str,
    counts: npt.NDArray[np.bool_],
    sink: Sink,
    evaluator: Evaluator,
    boilerplates: Boilerplates,
) -> Iterator[pa.Table]:
    """Read task: one part, whose rows at `counts` are evaluated; yields a receipt."""
    changes, start = Rechecked(), 0
    for rows in read_batches(sink.storage.at(sink.uri).fs, path, ANSWERS.names):
        mask = counts[start : (start := start + rows.num_rows)]
        changed, verdicts = recheck_rows(rows.filter(pa.array(mask)), evaluator, boilerplates)
        changes.add(Rechecked(int(mask.sum()), verdicts))
        sink.write(changed)
    yield receipt(changes)
