"""Whether an answer answers its question: the model, its weights, and how they are learned."""

import random
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.answering.answer_features import features_of
from pipeline.answering.answers_question import (
    WEIGHTS,
    LinearModel,
    as_file,
    estimate,
    estimate_with_others,
    packaged_model,
    weights_of,
)
from pipeline.answering.stance import stance_of
from pipeline.core.errors import ConfigError
from pipeline.core.filesystem import Storage
from pipeline.core.records import Place, Record
from pipeline.store.corrections import Correction, add_corrections, answer_sha256
from tests.bench.answered.__main__ import too_few
from tests.bench.answered.examples import Example, of_corpus, of_store, was_shown
from tests.bench.answered.figures import SPLITS, figures_of, held_out, kappa
from tests.bench.answered.training import fit, folds_by
from tests.support.jobs import ROOT, Corpus, job, rows, run, stored, write_jsonl

PACKAGED = ROOT / "pipeline" / "answering" / WEIGHTS
QUESTION = "Which lens was used on the tower (e.g., wide, macro)?"
PASSAGE = "We counted herons from the tower with a macro lens of 90 mm, at dawn, for 14 days."
PROMPT = f"Answer from the context.\n{PASSAGE}\n{QUESTION}"


def probability(answer: str) -> float:
    return estimate(answer, stance_of(answer), QUESTION, PROMPT).probability


def test_a_statement_from_the_passages_answers_and_a_denial_does_not():
    told = "The herons were counted with a macro lens of 90 mm, from the tower at dawn."
    denied = "I don't know. The provided context does not mention which lens was used."
    assert estimate(told, stance_of(told), QUESTION, PROMPT).verdict == "yes"
    assert estimate(denied, stance_of(denied), QUESTION, PROMPT).verdict == "no"


def test_general_remarks_answer_less_than_what_the_passages_hold():
    remark = "Typically, several lenses can be used. Common choices include wide and zoom lenses."
    assert probability(remark) < probability("They used a macro lens of 90 mm on the tower.")


def test_what_the_prompt_holds_is_told_from_what_it_does_not():
    values = features_of("They used a macro lens.", "answered", QUESTION, PROMPT).values
    other = features_of("They used a fisheye adapter.", "answered", QUESTION, PROMPT).values
    assert values["held share all"] > other["held share all"]
    assert other["not held all"] > values.get("not held all", 0.0)


def test_words_stand_under_what_their_sentence_does():
    found = features_of("The lens was wide. The film is not mentioned.", "answered", None, "")
    assert "lens" in found.terms["states"]
    assert ("lens", "was") in found.terms["states"]
    assert "film" in found.terms["denies"]
    assert "film" not in found.terms["states"]


@settings(max_examples=200, deadline=None)
@given(st.text(), st.one_of(st.none(), st.text()), st.text())
def test_any_answer_to_any_question_has_a_probability(answer, question, ground):
    verdict, p = estimate(answer, stance_of(answer), question, ground)
    low, high = packaged_model().unsure
    assert 0 <= p <= 1
    assert verdict == ("no" if p <= low else "yes" if p >= high else "unsure")


def test_an_answer_has_one_probability_in_every_process():
    code = (
        "from pipeline.answering.answers_question import estimate;"
        f"print(estimate('A macro lens of 90 mm was used.', 'answered', {QUESTION!r}, {PROMPT!r}))"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1]


def test_neither_weights_nor_a_training_library_are_read_before_an_answer_is_judged():
    code = (
        "import sys; from pipeline.answering import answers_question as a, evaluate;"
        "assert a.packaged_model.cache_info().currsize == 0;"
        "a.estimate('A lens.', 'answered', None, '');"
        "assert not {'sklearn', 'scipy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_the_weights_are_small_and_say_where_they_come_from():
    data = PACKAGED.read_bytes()
    assert len(data) <= 2 * 2**20
    about = weights_of(data, WEIGHTS)["about"]
    assert about["licence"] == "Apache-2.0"
    assert "arXiv" in about["source"]
    assert as_file(weights_of(data, WEIGHTS)) == data


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data.replace(b'"bias": 0', b'"bias": 1', 1),
        lambda data: b"[" + data + b"]",
        lambda data: data[:0] + b"3",
        lambda data: data[:0],
    ],
    ids=["cut", "changed", "list", "number", "empty"],
)
def test_weights_that_are_not_as_they_were_made_are_refused(damage):
    damaged = damage(PACKAGED.read_bytes())
    assert damaged != PACKAGED.read_bytes()
    with pytest.raises(ConfigError, match=f"^{WEIGHTS}: its digest"):
        weights_of(damaged, WEIGHTS)


@given(st.floats(0, 1), st.lists(st.floats(0, 1), max_size=6))
def test_others_that_agree_raise_a_probability_and_others_that_differ_lower_it(own, others):
    between = estimate_with_others(own, others).probability
    assert estimate_with_others(own, [*others, *[1.0] * 9]).probability >= between - 1e-3
    assert estimate_with_others(own, [*others, *[0.0] * 9]).probability <= between + 1e-3


def test_an_answer_without_others_stands_alone():
    for own in (0.02, 0.3, 0.55, 0.97):
        assert estimate_with_others(own, []).probability == pytest.approx(own, abs=2e-4)


def synthetic(papers: int, seed: int) -> list[Example]:
    """Answers of two models about nests, of which one in ten is labelled wrongly."""
    rng = random.Random(seed)
    examples = []
    for paper in range(papers):
        for nth in range(6):
            yes = rng.random() < 0.5
            count = rng.randint(2, 90)
            ground = f"The island had {count} nests in spring. How many nests were there?"
            for model in ("a", "b"):
                answer = rng.choice(
                    [f"There were {count} nests.", f"The island had {count} nests in spring."]
                    if yes
                    else ["The number of nests is not mentioned.", "I don't know how many nests."]
                )
                record = Record(f"p{paper}_Q{nth}", Place("", 0), f"p{paper}", f"Q{nth}")
                label = "yes" if yes != (rng.random() < 0.1) else "no"
                examples.append(Example.of(record, ground, f"Q{nth}", model, answer, label))
    return examples


@pytest.fixture(scope="module")
def learned() -> dict:
    return fit(synthetic(20, seed=1))


def test_what_is_learned_tells_answers_that_were_not_seen(learned):
    model = LinearModel.of(learned)
    unseen = synthetic(10, seed=2)
    right = [(model.score(e.features) > 0) == e.answers for e in unseen]
    assert sum(right) / len(right) > 0.85


def test_the_same_judgements_give_the_same_weights(learned):
    again = synthetic(20, seed=1)
    assert as_file(fit(again)) == as_file(learned)


def test_words_of_a_single_paper_are_not_learned():
    examples = synthetic(20, seed=1)
    record = Record("p0_Q9", Place("", 0), "p0", "Q9")
    named = Example.of(record, "", "Q9", "a", "Zanzibar had two nests.", "yes")
    assert not [name for name in fit([*examples, named])["weights"] if "zanzibar" in name]


def test_other_models_answers_count_for_more_than_nothing(learned):
    assert learned["others"]["own"] + learned["others"]["others"] > 0.5


def test_folds_never_part_a_paper():
    for train, rest in folds_by(synthetic(7, seed=3), lambda e: e.paper, 3):
        assert train
        assert not {e.paper for e in train} & {e.paper for e in rest}


@pytest.mark.parametrize(
    ("completion", "shown"),
    [
        ("Answer:::\nTwo nests.\n", True),
        ("Answer: Two nests.", True),
        ("Two nests.", True),
        ("Answer:::\nTwo nests.\nAnswer:::", False),
        ("Answer:::\nTwo nests.\nAnswer::: (2 words)", False),
    ],
)
def test_a_label_for_another_text_than_the_answer_is_known(completion, shown):
    assert was_shown(completion, "Two nests.") == shown


@pytest.fixture(scope="module")
def labelled(corpus: Corpus) -> list[Example]:
    return of_corpus(corpus.packed)


def test_people_agree_with_the_model_about_papers_that_it_has_not_seen(labelled):
    assert sum(e.answers is not None for e in labelled) == 1641
    by, _ = SPLITS["papers"]
    figures = figures_of(held_out(labelled, by, folds=3, inner_folds=2))
    assert figures["agreement"] >= 0.84
    assert figures["kappa"] >= 0.66
    assert figures["decided"] >= 0.90
    assert figures["covered"] >= 0.75
    assert figures["calibration error"] <= 0.06


def test_the_weights_of_the_package_are_those_that_the_script_makes(labelled):
    packaged = orjson.loads(PACKAGED.read_bytes())["weights"]
    made = fit(labelled, inner_folds=2)["weights"]  # calibrated otherwise, so with another scale
    scale = packaged["stance answered"] / made["stance answered"]
    assert 0.8 < scale < 1.25
    large = {name: weight for name, weight in packaged.items() if abs(weight) > 0.02}
    assert len(large) > 1_000
    assert {n: made[n] * scale for n in large} == pytest.approx(large, rel=0.02, abs=1e-4)


def test_judging_an_answer_takes_little_time():
    passages = " ".join(f"{PASSAGE} Nest {n} stood on pole {n * 7}." for n in range(28))
    answer = " ".join([PASSAGE, "The film is not mentioned. It might be slow."] * 4)
    assert 95 < len(answer.split()) < 110
    assert len(passages.split()) > 650
    packaged_model()
    shortest, until = 1.0, time.monotonic() + 10  # another process may have the core for a while
    while shortest >= 0.0003 and time.monotonic() < until:
        start = time.perf_counter()
        estimate(answer, "answered", QUESTION, passages)
        shortest = min(shortest, time.perf_counter() - start)
    assert shortest < 0.0003


def test_kappa_of_two_by_two_tables_is_the_textbooks():
    one = np.array([True] * 25 + [False] * 25)
    other = np.array([True] * 20 + [False] * 5 + [True] * 10 + [False] * 15)
    assert kappa(one, other) == pytest.approx(0.4)


def corrections(store: Path) -> list[Correction]:
    """What a person says of every answer of a store: yes for those about three herons."""
    return [
        Correction(
            row["record_id"],
            row["generation_key"],
            answer_sha256(row["answer"]),
            "answers_question",
            "yes" if "three" in row["answer"] else "no",
            "ibis",
            datetime(2026, 1, 2, tzinfo=UTC),
        )
        for row in stored(store).to_pylist()
    ]


@pytest.fixture
def corrected(tmp_path) -> Path:
    """A store of twelve answers, every other of which says how many herons there were."""
    said = ["There were three herons.", "The number of herons is not mentioned."] * 6
    lines = [{**r, "recorded_answer": a} for r, a in zip(rows(range(12)), said, strict=True)]
    write_jsonl(tmp_path / "in/a.jsonl", lines)
    run(job(tmp_path / "in", tmp_path / "store", engine={"kind": "recorded"}))
    return tmp_path / "store"


def test_corrections_of_a_store_are_judgements_to_learn_from(corrected):
    first, second, third, *rest = corrections(corrected)
    newer = first._replace(value="unsure", at=datetime(2026, 1, 3, tzinfo=UTC))
    stale = second._replace(
        value="yes", at=datetime(2026, 1, 3, tzinfo=UTC), answer_sha256="0" * 64
    )
    other = third._replace(field="stance", value="hedged")
    add_corrections(
        Storage().at(str(corrected)), [first, newer, second, stale, third, other, *rest]
    )
    said = {e.record_id: e.answers for e in of_store(str(corrected))}
    assert len(said) == 12
    assert said[first.record_id] is None
    assert said[second.record_id] is (second.value == "yes")
    assert [*said.values()].count(None) == 1


def test_judgements_about_a_few_papers_are_too_few():
    assert too_few(synthetic(20, seed=1)) is None
    assert "too few" in (too_few(synthetic(3, seed=1)) or "")
    only_yes = [e for e in synthetic(20, seed=1) if e.answers]
    assert "no about 0" in (too_few(only_yes) or "")
