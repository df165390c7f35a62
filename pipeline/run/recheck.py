"""Stored completions judged again, part by part, on the cluster; no engine has a hand in it."""

from collections.abc import Iterator
from functools import partial

import numpy as np
import pyarrow as pa
import ray

from pipeline.answering.checks import chosen_checks
from pipeline.answering.evaluate import Evaluator
from pipeline.answering.recheck import Boilerplates, Rechecked, recheck_rows
from pipeline.cluster.session import receipts_of
from pipeline.config.schema import Job
from pipeline.core.filesystem import Location, Storage
from pipeline.store.parts import PartWriter, read_batches
from pipeline.store.reader import counting_rows
from pipeline.store.schema import ANSWERS, ANSWERS_FOLDER
from pipeline.store.sink import Sink


def recheck(
    store: Location, job: Job, boilerplates: Boilerplates, storage: Storage, run_id: str
) -> Iterator[Rechecked]:
    """Every counting answer of a store judged again; rows whose judgement changed are stored anew.

    Yields what each part came to.
    """
    parts = [part for part in counting_rows(store.join(ANSWERS_FOLDER)) if part.counts.any()]
    if not parts:
        return
    listed = [{"path": part.path, "counts": np.packbits(part.counts).tobytes()} for part in parts]
    evaluator = Evaluator(chosen_checks(job.checks), job.answer.max_words)
    writer = PartWriter(run_id, append_only=job.output.append_only)
    sink = Sink(job.output.uri, storage, writer, job.rows_per_file)
    receipts = ray.data.from_items(listed).map_batches(
        partial(_recheck, sink=sink, evaluator=evaluator, boilerplates=boilerplates),
        batch_format="pyarrow",
        batch_size=1,
    )
    yield from map(Rechecked.of_receipt, receipts_of(receipts))


def _recheck(
    part: pa.Table, sink: Sink, evaluator: Evaluator, boilerplates: Boilerplates
) -> pa.Table:
    ((path, packed),) = zip(*(part[name].to_pylist() for name in ("path", "counts")), strict=True)
    counts = np.unpackbits(np.frombuffer(packed, np.uint8)).astype(bool)
    found, start = Rechecked(), 0
    for rows in read_batches(sink.storage.at(sink.uri).fs, path, ANSWERS.names):
        mask = counts[start : (start := start + rows.num_rows)]
        changed, verdicts = recheck_rows(rows.filter(pa.array(mask)), evaluator, boilerplates)
        found.add(Rechecked(int(mask.sum()), verdicts))
        sink.write(changed)
    return found.receipt()
