"""How the checks that compare an answer with its prompt do on the published answers.

`OVERNIGHT_CORPUS=… python -m tests.bench.grounding [check …]` prints a row a check: the share
of answers that miss it, by model; precision, by the flags that were read in `readings/`; how many
planted faults it finds; the odds that people say yes to an answer that misses it, over those of any
other; and processor milliseconds an answer.
"""

import csv
import gzip
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
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
    """Which answers do not pass, by record and model, and processor milliseconds an answer."""
    fresh = [(record, model, replace(one)) for record, model, one in all_answers]
    began = time.process_time()
    flagged = {(record, model) for record, model, one in fresh if not check.test(one).passed}
    return flagged, 1000 * (time.process_time() - began) / len(fresh)


def found(check: Check, planter: Planter, all_answers: Answers) -> tuple[int, int]:
    """How many faults that were planted in answers without claims are found, and of how many."""
    chance, results = Random(SEED), []
    for _, _, one in chance.sample(all_answers, len(all_answers)):
        faulty = planter(one, chance)
        if faulty in (None, one.answer) or check.test(one).claims:
            continue
        results.append(not check.test(replace(one, answer=faulty)).passed)
        if len(results) == FAULTS:
            break
    return sum(results), len(results)


def odds_ratio(flagged: set[tuple[str, str]]) -> float:
    """The odds that people say yes to a flagged answer, over those of any other."""
    with (packed_corpus() / "labels.csv").open(encoding="utf-8") as file:
        seen = Counter(
            ((row["record"], row["model"]) in flagged, row["answered"])
            for row in csv.DictReader(file)
        )
    half = 0.5  # Haldane's correction, for a cell without any
    return ((seen[True, "yes"] + half) * (seen[False, "no"] + half)) / (
        (seen[True, "no"] + half) * (seen[False, "yes"] + half)
    )


def precision(name: str) -> str:
    lines = (READINGS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    right = sum(json.loads(line)["is_right"] for line in lines)
    return f"{right / len(lines):.2f} of {len(lines)}"


def main(names: list[str]) -> None:
    with TemporaryDirectory() as folder:
        all_answers = list(answers(Path(folder)))
    totals = Counter(model for _, model, _ in all_answers)
    print("| check | missed |", *(f"{model} |" for model in sorted(totals)), end=" ")
    print("precision | planted faults found | odds ratio of yes | ms |")
    for name in names or CHECKS:
        check = known_checks()[name]
        flagged, milliseconds = flags(check, all_answers)
        by_model = Counter(model for _, model in flagged)
        shares = [by_model[model] / total for model, total in sorted(totals.items())]
        hits = {
            fault: found(check, planter, all_answers)
            for fault, (of, planter) in PLANTED.items()
            if of == name
        }
        planted = ", ".join(
            f"{fault}: {right / total:.2f}" for fault, (right, total) in hits.items()
        )
        print(f"| `{name}` | {len(flagged) / len(all_answers):.2%} |", end=" ")
        print(*(f"{share:.2%} |" for share in shares), f"{precision(name)} | {planted}", end=" ")
        print(f"| {odds_ratio(flagged):.2f} | {milliseconds:.2f} |")


if __name__ == "__main__":
    main(sys.argv[1:])
