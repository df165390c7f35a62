"""How the checks that compare an answer with its prompt judge the published answers.

`OVERNIGHT_CORPUS=… python -m tests.bench.grounding [check …]` prints for each check the share of
answers flagged, per model; the share of planted faults that it finds; the precision by reading,
from `readings/`; the odds that people say yes; and the time an answer takes, in CPU milliseconds.
"""

import csv
import gzip
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline.answering.checks import Check, known_checks
from pipeline.answering.checks.base import Subject
from pipeline.config.schema import TextGrammar
from pipeline.core.records import Completion, Place, Record
from pipeline.formats.extract import extract_answer
from pipeline.reading.text import text_record
from tests.bench.planted import PLANTED, Planter
from tests.support.jobs import packed_corpus, unpacked

READINGS = Path(__file__).parent / "readings"
CHECKS = [path.stem for path in sorted(READINGS.glob("*.jsonl"))]
RECORDED, FAULTS, SEED = "mixtral_8_22b", 300, 18

Answers = list[tuple[str, str, Subject]]
"""Record, model, and what a check gets."""


def answers(folder: Path) -> Iterator[tuple[str, str, Subject]]:
    """The answers of all five models."""
    corpus, records = unpacked(folder), {}
    for path in sorted(corpus.records.iterdir()):
        record = text_record(path.read_bytes(), Place(path.name, 0), TextGrammar())
        records[record.record_id] = record
        yield record.record_id, RECORDED, subject(record, record.recorded_answer or "")
    with gzip.open(corpus.packed / "answers_of_other_models.jsonl.gz") as file:
        for row in map(json.loads, file):
            record = records[row["record"]]
            yield record.record_id, row["model"], subject(record, row["completion"])


def subject(record: Record, text: str) -> Subject:
    return Subject(
        Completion(text, None),
        extract_answer(text),
        record.boilerplate,
        399,
        record_id=record.record_id,
        question=record.question,
        messages=record.messages,
    )


def flags(check: Check, all_answers: Answers) -> tuple[set[tuple[str, str]], float]:
    """Which answers do not pass, by record and model, and CPU milliseconds an answer."""
    fresh = [(record, model, replace(one)) for record, model, one in all_answers]
    began = time.process_time()
    flagged = {(record, model) for record, model, one in fresh if not check.test(one).passed}
    return flagged, 1000 * (time.process_time() - began) / len(fresh)


def found(check: Check, planter: Planter, all_answers: Answers) -> tuple[int, int]:
    """How many faults were planted in answers that passed, and how many of them are found."""
    chance, planted, hits = random.Random(SEED), 0, 0
    for _, _, one in chance.sample(all_answers, len(all_answers)):
        faulty = planter(one.answer, one.ground.text, chance)
        if faulty is None or not check.test(one).passed:
            continue
        planted, hits = planted + 1, hits + (not check.test(replace(one, answer=faulty)).passed)
        if planted == FAULTS:
            break
    return planted, hits


def odds_ratio(flagged: set[tuple[str, str]], labels: Path) -> float:
    """The odds that people say yes to a flagged answer, over those of any other."""
    with labels.open(encoding="utf-8") as file:
        seen = Counter(
            ((row["record"], row["model"]) in flagged, row["answered"])
            for row in csv.DictReader(file)
        )
    half = 0.5  # Haldane's correction, for a cell without any
    return ((seen[True, "yes"] + half) * (seen[False, "no"] + half)) / (
        (seen[True, "no"] + half) * (seen[False, "yes"] + half)
    )


def main(names: list[str]) -> None:
    with TemporaryDirectory() as folder:
        all_answers = list(answers(Path(folder)))
    totals = Counter(model for _, model, _ in all_answers)
    for name in names or CHECKS:
        check = known_checks()[name]
        flagged, milliseconds = flags(check, all_answers)
        by_model = Counter(model for _, model in flagged)
        print(f"{name}: {len(flagged) / len(all_answers):.2%} flagged, {milliseconds:.3f} ms")
        for model, total in sorted(totals.items()):
            print(f"  {model}: {by_model[model] / total:.2%}")
        readings = (READINGS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        true = sum(json.loads(line)["verdict"] == "true" for line in readings)
        print(f"  precision by reading: {true} of {len(readings)}")
        labels = packed_corpus() / "labels.csv"
        print(f"  odds ratio of yes: {odds_ratio(flagged, labels):.2f}")
        for fault, (of, planter) in PLANTED.items():
            if of == name:
                planted, hits = found(check, planter, all_answers)
                print(f"  {fault}: {hits} of {planted} found")


if __name__ == "__main__":
    main(sys.argv[1:])
