"""Stores of large runs, filled with generated answers instead of running a job."""

import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.answering.checks import chosen_checks
from pipeline.answering.evaluate import Evaluator
from pipeline.config.schema import Job
from pipeline.core.accounting import Totals
from pipeline.core.arrow import set_column
from pipeline.core.filesystem import Storage
from pipeline.core.records import Answered, Completion, Message, Passage, Place, Prompt, Record
from pipeline.prompting.keys import prompt_and_generation_key
from pipeline.store.parts import PartWriter, new_run_id
from pipeline.store.run_file import RunFile
from pipeline.store.schema import ANSWERS, ANSWERS_FOLDER, answers_table

_WORDS = (
    "heron pond survey nest moraine glacier radar echo lynx camera trap transect spectra soil "
    "wheat rust spore drone kelp canopy lidar beech crown sample label model training "
    "accuracy recall precision season rainfall gauge station sensor array noise filter "
    "threshold"
)
WORDS = _WORDS.split()
QUESTIONS = 28
GENERATED_ROWS = 178 * QUESTIONS
"""Answers that are generated; a larger store repeats them under other names."""


def store_run(job: Job, answers: int, days_ago: int = 0) -> str:
    """Writes a run with this many answers to a job's store; returns the run id."""
    started = datetime.now(UTC) - timedelta(days=days_ago)
    store, run_id = Storage().at(job.output.uri), new_run_id(started)
    prompt = {"name": "invented", "version": "1", "system": "", "body": "{{ question }}"}
    totals = Totals()
    count = min(GENERATED_ROWS, answers)
    writer = PartWriter(run_id)
    generated = _rows(list(_answers(random.Random(days_ago), range(count))))
    for first in range(0, answers, GENERATED_ROWS):
        rows = _renamed(generated, first).slice(0, answers - first)
        writer.write(writer.new_part(store.join(ANSWERS_FOLDER)), rows, ANSWERS)
        totals.add(Totals.of(rows, parts=1))
        totals.sums["read"] += rows.num_rows
    timings = {"cluster_ready": 10.0, "first_rows": 60.0, "total": 3610.0}
    file = RunFile(store, run_id, job, prompt, started)
    file.write(file.content("done", totals, timings))
    return run_id


def _renamed(rows: pa.Table, number: int) -> pa.Table:
    for name in ("record_id", "paper_id"):
        renamed = pc.binary_join_element_wise(f"{number}", rows[name], "-")
        rows = set_column(rows, name, renamed)
    return rows


def _rows(answers: Sequence[Answered]) -> pa.Table:
    constants = {
        "prompt_name": "invented",
        "prompt_version": "1",
        "model": "invented",
        "engine": "recorded",
        "sampling": "{}",
    }
    return answers_table(answers, constants)


def _answers(rng: random.Random, numbers: Sequence[int]) -> Iterator[Answered]:
    evaluator = Evaluator(chosen_checks({}), 399)
    paper, passages = -1, ()
    for number in numbers:
        if number // QUESTIONS != paper:
            paper = number // QUESTIONS
            passages = tuple(Passage(_sentences(rng, 4)) for _ in range(6))
        record = Record(
            f"paper-{paper}_Q{number % QUESTIONS + 1}",
            Place("s3://invented/shard.jsonl", number),
            f"paper-{paper}",
            f"Q{number % QUESTIONS + 1}",
            f"What of the {WORDS[number % len(WORDS)]}?",
        )
        text = "\n\n".join(p.text for p in rng.sample(passages, 4))
        messages = (Message("user", f"{text}\n\n{record.question}"),)
        keys = prompt_and_generation_key(messages, {})
        prompt = Prompt(record, messages, "", *keys)
        yield evaluator.best_of(prompt, [evaluator.evaluate(_completion(rng, passages), prompt)])


def _completion(rng: random.Random, passages: tuple[Passage, ...]) -> Completion:
    answer = rng.choices(
        (
            "I do not know.",
            rng.choice(passages).text,
            f"{_sentences(rng, 2)} It may be so.",
            "",
            _sentences(rng, 60),
        ),
        (30, 50, 15, 1, 4),
    )[0]
    reason = "length" if rng.random() < 0.01 else "stop"
    prompt, words = 900 + rng.randrange(200), len(answer.split())
    return Completion(f"Answer:::\n{answer}\nAnswer:::", reason, prompt, prompt // 2, words, 0.5)


def _sentences(rng: random.Random, count: int) -> str:
    return " ".join(
        f"The {' '.join(rng.choices(WORDS, k=10))} {rng.randrange(100)}." for _ in range(count)
    )
