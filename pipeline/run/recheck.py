"""Evaluates stored completions again, part by part, without an engine."""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.answering.evaluate import Evaluator
from pipeline.answering.recheck import Boilerplates, Rechecked, recheck_rows
from pipeline.cluster.executor import Executor
from pipeline.config.schema import Job
from pipeline.core.arrow import receipt
from pipeline.core.filesystem import Storage
from pipeline.prompting.template import load_prompt
from pipeline.run.recorder import RunRecorder
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
    file = RunFile.new(store, job, source.described(), "recheck")
    writer = PartWriter(file.run_id, append_only=job.output.append_only)
    check = partial(
        _recheck_part,
        sink=Sink(job.output.uri, storage, writer, job.rows_per_file),
        evaluator=Evaluator.of(job),
        boilerplates=Boilerplates.of_runs(all_runs(store), job.input.text),
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
) -> Iterator[pa.Table]:
    """Read task: evaluates those rows of a part that count; yields a receipt."""
    changes, start = Rechecked(), 0
    for rows in read_batches(sink.storage.at(sink.uri).fs, path, ANSWERS.names):
        mask = counts[start : (start := start + rows.num_rows)]
        changed, verdicts = recheck_rows(rows.filter(pa.array(mask)), evaluator, boilerplates)
        changes.add(Rechecked(int(mask.sum()), verdicts))
        sink.write(changed)
    yield receipt(changes)
