"""Other models' answers to the same question, in a store of several models."""

import csv
from pathlib import Path

import pytest

from pipeline.answering.answers_question import estimate_with_others
from pipeline.core.errors import ConfigError
from pipeline.core.filesystem import Location, Storage
from pipeline.results.export.files import Wanted, export_records
from pipeline.results.other_models import PROBABILITY, VERDICT, other_models
from tests.support.export_rows import row, store_part

QUESTION = "How many nests were there?"


@pytest.fixture
def store(tmp_path) -> Location:
    return Storage().at(str(tmp_path / "store"))


def answer(record_id: str, model: str, p: float | None, **columns) -> dict:
    columns = {"question": QUESTION, "generation_key": model, **columns}
    return row(record_id, model=model, p_answered=p, answers_question="no", **columns)


def exported(store: Location, tmp_path: Path, *columns: str) -> list[dict[str, str]]:
    export_records(store, str(tmp_path / "x.csv"), Storage(), Wanted(columns=columns))
    with (tmp_path / "x.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_a_store_of_one_model_gets_no_further_columns(store, tmp_path):
    store_part(store, [answer("a", "heron", 0.4), answer("b", "heron", 0.9)])
    assert other_models(store) is None
    assert {VERDICT, PROBABILITY}.isdisjoint(exported(store, tmp_path)[0])
    with pytest.raises(ConfigError, match=VERDICT):
        exported(store, tmp_path, VERDICT)


def test_other_models_that_answer_raise_an_answer_that_stands_alone_no_longer(store, tmp_path):
    store_part(store, [answer("a", "egret", 0.99), answer("a", "stork", 0.99)])
    store_part(store, [answer("a", "heron", 0.45), answer("b", "heron", 0.45)])
    raised, alone = exported(store, tmp_path)
    assert raised["model"] == alone["model"] == "heron"
    expected = estimate_with_others(0.45, [0.99, 0.99])
    assert raised[VERDICT] == expected.verdict
    assert float(raised[PROBABILITY]) == pytest.approx(expected.probability, abs=1e-3)
    assert float(raised[PROBABILITY]) > float(alone[PROBABILITY]) == pytest.approx(0.45, abs=1e-3)
    assert raised["answers_question"] == "no", "what the store holds stays as it is"


def test_the_newest_answer_of_a_model_counts_and_its_own_never(store):
    store_part(store, [answer("a", "egret", 0.01, generation_key="old"), answer("a", "heron", 0.9)])
    store_part(store, [answer("a", "egret", 0.99), answer("a", "heron", 0.2, generation_key="n")])
    others = other_models(store)
    assert others is not None
    estimated = others.estimate(answer("a", "heron", 0.2))
    assert estimated == estimate_with_others(0.2, [0.99])


def test_another_question_under_the_same_id_says_nothing(store, tmp_path):
    store_part(store, [answer("a", "egret", 0.99, question="Which lens?")])
    store_part(store, [answer("a", "heron", 0.45)])
    (only,) = exported(store, tmp_path)
    assert float(only[PROBABILITY]) == pytest.approx(0.45, abs=1e-3)


def test_a_store_of_an_earlier_release_gets_no_further_columns(store):
    store_part(store, [answer("a", "egret", None), answer("a", "heron", None)])
    assert other_models(store) is None


def test_an_answer_that_was_not_judged_stays_without_a_verdict(store, tmp_path):
    store_part(store, [answer("a", "egret", 0.99), answer("a", "stork", 0.9)])
    store_part(store, [answer("a", "heron", None)])
    (only,) = exported(store, tmp_path, "record_id", VERDICT, PROBABILITY)
    assert only == {"record_id": "a", VERDICT: "", PROBABILITY: ""}


@pytest.mark.parametrize("ending", ["parquet", "csv", "xlsx", "jsonl"])
def test_every_format_has_the_columns(store, tmp_path, ending):
    store_part(store, [answer("a", "egret", 0.99), answer("b", "heron", 0.45)])
    assert export_records(store, str(tmp_path / f"x.{ending}"), Storage()) == 2
    if ending == "jsonl":
        assert VERDICT in (tmp_path / "x.jsonl").read_text().splitlines()[0]
