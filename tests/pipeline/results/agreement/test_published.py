"""The published study: five models' answers to 6,104 records, and people's labels of 1,677 of them.

Every figure is computed once more from the files, without the pipeline's tables, by κ's definition.
"""

import csv
import gzip
import json
from collections import defaultdict
from itertools import combinations
from pathlib import Path

import pytest

from pipeline.answering.stance import stance_of
from pipeline.config.schema import TextGrammar
from pipeline.core.filesystem import Storage
from pipeline.core.records import Place
from pipeline.formats.extract import extract_answer
from pipeline.reading.text import text_record
from pipeline.results.agreement.ratings import read_ratings
from pipeline.results.agreement.summary import Agreement, agree
from pipeline.results.corrections.taking_in import take_in
from pipeline.store.corrections_file import file_rows
from tests.support.answers import NOW, answer_row, write_answers
from tests.support.jobs import Corpus
from tests.support.kappas import cohen, fleiss

RECORDS, LABELS = 6_104, 1_677
OWN = "mixtral_8_22b"
"""The model whose answers stand in the records themselves."""

FOUR_DIGITS = 5e-5


@pytest.fixture(scope="module")
def completions(corpus: Corpus) -> dict[tuple[str, str], str]:
    """What each model said to each record, by record and model."""
    with gzip.open(corpus.packed / "answers_of_other_models.jsonl.gz") as file:
        lines = [json.loads(line) for line in file]
    found = {(line["record"], line["model"]): line["completion"] for line in lines}
    for path in corpus.records.iterdir():
        record = text_record(path.read_bytes(), Place(path.as_uri(), 0), TextGrammar())
        found[record.record_id, OWN] = record.recorded_answer or ""
    return found


@pytest.fixture(scope="module")
def stances(completions) -> dict[tuple[str, str], tuple[str, str]]:
    """Answer and stance, by record and model."""
    answers = {key: extract_answer(completion) for key, completion in completions.items()}
    return {key: (answer, stance_of(answer)) for key, answer in answers.items()}


@pytest.fixture(scope="module")
def labels(corpus: Corpus) -> list[dict[str, str]]:
    with (corpus.packed / "labels.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def store(stances, labels, tmp_path_factory) -> Path:
    """A store of all answers, into which the labels have been taken as corrections."""
    folder = tmp_path_factory.mktemp("published")
    location = write_answers(
        folder,
        (
            answer_row(record, answer, model=model, stance=stance)
            for (record, model), (answer, stance) in stances.items()
        ),
    )
    lines = [f"{row['record']},{row['model']},{row['answered']}" for row in labels]
    content = "\n".join(["record_id,model,value", *lines])
    defaults = {"annotator": "people", "field": "answers_question"}
    taken = take_in(location, file_rows("x.csv", content.encode()), set(), NOW, defaults)
    assert (len(taken.added), taken.rejects) == (LABELS, [])
    return folder


def yes(stance: str, conversion: str) -> bool:
    return stance == "answered" or (stance == "hedged" and conversion == "hedged=yes")


def agreement_of(store: Path, conversion: str) -> Agreement:
    return agree(read_ratings(Storage().at(str(store)), [], conversion))


@pytest.mark.parametrize("conversion", ["hedged=yes", "hedged=no"])
def test_agreement_over_the_study_is_that_of_an_independent_computation(
    store, stances, labels, conversion
):
    said = defaultdict(dict)
    for (record, model), (answer, stance) in stances.items():
        if answer:
            said[record][model] = yes(stance, conversion)
    models = sorted({model for _, model in stances})
    agreement = agreement_of(store, conversion)
    found = {tuple(r.name for r in of.raters): of.whole for of in agreement.pairs}
    assert len(found) == 10 + 5

    for pair in combinations(models, 2):
        both = [tuple(m[name] for name in pair) for m in said.values() if {*pair} <= m.keys()]
        assert found[pair].n == len(both) > RECORDS - 10
        assert found[pair].kappa.value == pytest.approx(float(cohen(both)), abs=FOUR_DIGITS)

    for model in models:
        both = [
            (said[row["record"]][model], row["answered"] == "yes")
            for row in labels
            if row["model"] == model and model in said[row["record"]]
        ]
        agreed = found[model, "people"]
        assert agreed.n == len(both) > 300
        assert agreed.kappa.value == pytest.approx(float(cohen(both)), abs=FOUR_DIGITS)
        assert agreed.kappa.low < agreed.kappa.value < agreed.kappa.high

    complete = [[m[name] for name in models] for m in said.values() if len(m) == len(models)]
    (group,) = agreement.groups
    assert group.whole.n == len(complete) > RECORDS - 10
    assert group.whole.kappa.value == pytest.approx(float(fleiss(complete)), abs=FOUR_DIGITS)
    unanimous = sum(len({*words}) == 1 for words in complete) / len(complete)
    assert group.whole.agreement.value == pytest.approx(unanimous, abs=FOUR_DIGITS)


def test_agreement_on_each_question_is_that_of_an_independent_computation(store, stances):
    said = defaultdict(dict)
    for (record, model), (answer, stance) in stances.items():
        if answer:
            said[record][model] = stance == "answered"
    agreement = agreement_of(store, "hedged=no")
    (group,) = agreement.groups
    assert agreement.questions == [f"CQ{n}" for n in range(1, 29)]
    for question, agreed in zip(agreement.questions, group.questions, strict=True):
        complete = [
            [*words.values()]
            for record, words in said.items()
            if record.endswith(f"_{question}") and len(words) == 5
        ]
        assert agreed.n == len(complete)
        assert agreed.kappa.value == pytest.approx(float(fleiss(complete)), abs=FOUR_DIGITS)


def test_most_models_decide_as_they_do_when_counted_by_hand(store, stances):
    votes = defaultdict(list)
    for (record, _), (answer, stance) in stances.items():
        votes[record] += [stance == "answered"] * bool(answer)
    majority = agreement_of(store, "hedged=no").majority
    expected = {
        "yes": sum(2 * sum(v) > len(v) for v in votes.values()),
        "no": sum(2 * sum(v) < len(v) for v in votes.values()),
        "unsure": sum(2 * sum(v) == len(v) for v in votes.values()),
    }
    found = {
        word: int((majority.codes == code).sum())
        for code, word in enumerate(["no", "yes", "unsure"])
    }
    assert found == expected
