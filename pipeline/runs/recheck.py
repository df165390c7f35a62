"""Evaluates stored completions again, part by part, without an engine."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.answering.checks import digests_of
from pipeline.answering.evaluate import Evaluator
from pipeline.answering.past_runs import PastRuns
from pipeline.answering.recheck import Boilerplates, Rechecked, recheck_rows
from pipeline.cluster.executor import Executor
from pipeline.config.schema import Job
from pipeline.core.arrow import receipt
from pipeline.core.filesystem import Storage
from pipeline.prompting.template import load_prompt
from pipeline.runs.recorder import RunRecorder
from pipeline.store.parts import PartWriter, read_batches
from pipeline.store.reader import counting_rows
from pipeline.store.run_file import RunFile
from pipeline.store.runs import all_runs
from pipeline.store.schema import ANSWERS, ANSWERS_FOLDER
from pipeline.store.sink import Sink


def recheck_store(
    job: Job, executor: Executor, progress: Callable[[Rechecked], object]
) -> tuple[str, Rechecked]:
    """Evaluates a store's answers again; returns the id of this run, and what changed.

    Rows whose evaluation changed are stored anew. Raises `KeyboardInterrupt` if interrupted.
    """
    storage = Storage(job.storage)
    store = storage.at(job.output.uri)
    answers = store.join(ANSWERS_FOLDER)
    source = load_prompt(job.prompt.template, job.answer)
    evaluator = Evaluator.of(job)
    file = RunFile.new(store, job, source.described(), "recheck")
    file = replace(file, own_checks=digests_of(evaluator.checks))
    runs = list(all_runs(store))
    writer = PartWriter(file.run_id, append_only=job.output.append_only)
    check = partial(
        _recheck_part,
        sink=Sink(job.output.uri, storage, writer, job.rows_per_file),
        evaluator=evaluator,
        boilerplates=Boilerplates.of_runs(runs, job.input.text),
        runs=PastRuns.of(runs),
    )
    changes = Rechecked()
    with RunRecorder(file) as record, executor:
        record.timings.cluster_ready = record.timings.now()
        parts = [part for part in counting_rows(answers) if part.counts.any()]
        sizes = answers.files()
        tasks = [(partial(check, p.path, p.counts), sizes.get(p.path, 0)) for p in parts]
        for part_changes in executor.read(tasks).receipts() if tasks else ():
            changes.add(part_changes)
            progress(changes)
    if record.document["status"] == "interrupted":
        raise KeyboardInterrupt
    return file.run_id, changes


def _recheck_part(
    path: str,
    counts: npt.NDArray[np.bool_],
    sink: Sink,
    evaluator: Evaluator,
    boilerplates: Boilerplates,
    runs: PastRuns,
) -> Iterator[pa.Table]:
    """Read task: evaluates those rows of a part that count; yields a receipt."""
    changes, start = Rechecked(), 0
    for rows in read_batches(sink.storage.at(sink.uri).fs, path, ANSWERS.names):
        mask = counts[start : (start := start + rows.num_rows)]
        counting = rows.filter(pa.array(mask))
        changed, done = recheck_rows(counting, evaluator, boilerplates, runs)
        changes.add(done)
        sink.write(changed)
    yield receipt(changes)
