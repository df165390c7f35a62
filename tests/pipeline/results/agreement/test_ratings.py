"""Who says what of what: models of records, judges and people of answers."""

import pytest

from pipeline.core.errors import ConfigError
from pipeline.results.agreement.conversion import check_conversion
from pipeline.results.agreement.document import as_document
from pipeline.results.agreement.ratings import Ratings, read_ratings
from pipeline.results.agreement.summary import agree
from pipeline.results.agreement.tables import long_table, wide_table
from pipeline.store.corrections import add_corrections
from tests.support.answers import NOW, answer_row, write_answers
from tests.support.corrections import correction

STANCES = ("answered", "hedged", "abstained")


def judged(*judgements: tuple[str, str]) -> list[dict]:
    return [{"rater": r, "value": v, "probability": 0.9, "key": "k"} for r, v in judgements]


def wide(ratings: Ratings, *columns: str) -> dict[str, tuple]:
    """The named columns of the wide table, by record."""
    rows = wide_table(ratings).to_pylist()
    return {row["record_id"]: tuple(row[c] for c in columns) for row in rows}


@pytest.mark.parametrize(
    ("conversion", "expected"),
    [
        ("hedged=yes", ["yes", "yes", "no"]),
        ("hedged=no", ["yes", "no", "no"]),
        ("answers_question", ["unsure", None, "yes"]),
        ("p_answered", ["yes", "no", None]),
    ],
)
def test_an_answer_counts_as_its_conversion_says_and_what_is_missing_stays_missing(
    tmp_path, conversion, expected
):
    given = zip(STANCES, ["unsure", None, "yes"], [0.5, 0.49, None], strict=True)
    rows = [
        answer_row(f"p_{n}", stance=stance, answers_question=said, p_answered=p, model=model)
        for n, (stance, said, p) in enumerate(given)
        for model in ("heron", "stork")
    ]
    ratings = read_ratings(write_answers(tmp_path, rows), [], conversion)
    found = wide(ratings, "model:heron")
    assert [found[f"p_{n}"] for n in range(3)] == [(word,) for word in expected]


def test_an_empty_answer_is_missing_whatever_its_stance(tmp_path):
    rows = [answer_row("p_1", answer, model=m) for m, answer in [("heron", ""), ("stork", "Ten.")]]
    ratings = read_ratings(write_answers(tmp_path, rows))
    assert wide(ratings, "model:heron", "model:stork", "majority") == {"p_1": (None, "yes", "yes")}


def test_the_stance_is_taken_until_an_answer_has_been_classified(tmp_path):
    rows = [answer_row("p_1", model=m) for m in ("heron", "stork")]
    store = write_answers(tmp_path, rows)
    assert read_ratings(store).conversion == "hedged=no"
    write_answers(tmp_path, [answer_row("p_2", answers_question="yes")])
    assert read_ratings(store).conversion == "answers_question"
    assert wide(read_ratings(store), "model:heron", "model:stork") == {
        "p_1": (None, None),
        "p_2": ("yes", None),
    }
    assert read_ratings(store).unconverted == 2


def test_a_conversion_that_no_answer_has_is_an_error_with_a_way_out(tmp_path):
    store = write_answers(tmp_path, [answer_row("p_1", model=m) for m in ("heron", "stork")])
    with pytest.raises(ConfigError, match="p_answered: no answer in the store has what"):
        read_ratings(store, [], "p_answered")


def test_an_unknown_conversion_names_the_nearest():
    with pytest.raises(ConfigError, match="hedged=non: not known; did you mean 'hedged=no'"):
        check_conversion("hedged=non")
    assert check_conversion(None) is None


def test_a_model_rates_a_record_by_its_newest_answer(tmp_path):
    later = NOW.replace(hour=9)
    rows = [
        answer_row(
            "p_1", model="heron", generation_key="new", written_at=later, stance="abstained"
        ),
        answer_row("p_1", model="heron", generation_key="old", stance="answered"),
        answer_row("p_1", model="stork"),
    ]
    ratings = read_ratings(write_answers(tmp_path, rows))
    assert wide(ratings, "model:heron", "model:stork") == {"p_1": ("no", "yes")}


def test_an_adapter_is_a_model_of_its_own(tmp_path):
    rows = [answer_row("p_1", adapter=a, generation_key=str(a)) for a in (None, "tuned", "")]
    ratings = read_ratings(write_answers(tmp_path, rows))
    assert [str(rater) for rater in ratings.raters] == ["model:heron", "model:tuned"]


def test_most_models_decide_and_a_tie_is_unsure(tmp_path):
    said = {"a_1": "yyn", "b_1": "yn ", "c_1": "  n", "d_1": "   ", "e_1": "uuy", "f_1": "uu "}
    words = {"y": "yes", "n": "no", "u": "unsure", " ": None}
    rows = [
        answer_row(record, model=f"m{i}", answers_question=words[word])
        for record, all_say in said.items()
        for i, word in enumerate(all_say)
    ]
    ratings = read_ratings(write_answers(tmp_path, rows))
    assert wide(ratings, "majority", "majority_share") == {
        "a_1": ("yes", 2 / 3),
        "b_1": ("unsure", 0.5),
        "c_1": ("no", 1.0),
        "d_1": (None, None),
        "e_1": ("yes", 1.0),
        "f_1": ("unsure", None),
    }
    assert as_document(agree(ratings))["majority"] == {
        "of": "models",
        "yes": 2,
        "no": 1,
        "unsure": 2,
        "missing": 1,
    }


def test_judges_and_people_rate_answers_and_are_compared_on_those_both_rate(tmp_path):
    rows = [
        answer_row("p_1", judgements=judged(("j", "no"))),
        answer_row("p_2", judgements=judged(("j", "yes"), ("j", "no"))),
        answer_row("p_3", stance="abstained"),
        answer_row("p_2", model="stork", judgements=judged(("j", "Yes"), ("k", "supported"))),
    ]
    store = write_answers(tmp_path, rows)
    add_corrections(
        store,
        [
            correction("p_1", "no"),
            correction("p_3", "no"),
            correction("p_2", "yes", generation_key="key of stork"),
            correction("p_1", "yes", annotator="ben"),
            correction("p_2", "no", annotator="ben", answer="Nine."),
            correction("p_2", "hedged", annotator="ben", field="stance"),
        ],
    )
    agreement = agree(read_ratings(store))
    figures = {(*map(str, of.raters),): (of.whole.n, of.whole.counts) for of in agreement.pairs}
    assert figures == {
        ("model:heron", "model:stork"): (1, (0, 0, 0, 1)),
        ("model:heron", "judge:j"): (2, (0, 0, 2, 0)),
        ("model:heron", "human:ana"): (2, (1, 0, 1, 0)),
        ("model:heron", "human:ben"): (1, (0, 0, 0, 1)),
        ("model:stork", "judge:j"): (1, (0, 0, 0, 1)),
        ("model:stork", "human:ana"): (1, (0, 0, 0, 1)),
        ("judge:j", "human:ana"): (2, (1, 0, 0, 1)),
        ("judge:j", "human:ben"): (1, (0, 1, 0, 0)),
        ("human:ana", "human:ben"): (1, (0, 1, 0, 0)),
    }
    document = as_document(agreement)
    assert document["stale"] == 1
    ana = next(rater for rater in document["raters"] if rater["rater"] == "human:ana")
    assert (ana["of"], ana["yes"], ana["no"], ana["missing"]) == ("answers", 1, 2, 1)


def test_the_wide_table_says_on_whose_answer_a_person_has_said_it(tmp_path):
    rows = [answer_row("p_1", model=m) for m in ("heron", "stork")]
    store = write_answers(tmp_path, rows)
    add_corrections(store, [correction("p_1", "no", generation_key="key of stork")])
    ratings = read_ratings(store)
    assert wide(ratings, "human:ana on stork") == {"p_1": ("no",)}
    assert "human:ana on heron" not in wide_table(ratings).column_names


def test_over_one_models_answers_most_raters_decide(tmp_path):
    rows = [answer_row("p_1", judgements=judged(("j", "no"))), answer_row("p_2")]
    store = write_answers(tmp_path, rows)
    add_corrections(store, [correction("p_1", "no")])
    ratings = read_ratings(store)
    assert wide(ratings, "model:heron", "judge:j", "human:ana", "majority") == {
        "p_1": ("yes", "no", "no", "no"),
        "p_2": ("yes", None, None, "yes"),
    }
    assert as_document(agree(ratings))["majority"]["of"] == "raters"


def test_the_long_table_has_a_row_for_what_has_been_said_and_none_for_what_has_not(tmp_path):
    rows = [
        answer_row("p_1", stance="hedged", judgements=judged(("j", "yes"))),
        answer_row("p_2", ""),
        answer_row("p_2", model="stork", stance="abstained"),
    ]
    ratings = read_ratings(write_answers(tmp_path, rows), [], "hedged=yes")
    names = ("record_id", "rater", "model", "generation_key", "value", "said")
    assert [tuple(row[n] for n in names) for row in long_table(ratings).to_pylist()] == [
        ("p_1", "model:heron", "heron", "key of heron", "yes", "hedged"),
        ("p_2", "model:stork", "stork", "key of stork", "no", "abstained"),
        ("p_1", "judge:j", "heron", "key of heron", "yes", "yes"),
    ]


def test_people_are_compared_with_a_check_and_with_each_other_on_its_flags(tmp_path):
    def checks(passed: bool) -> list[dict]:
        return [
            {"name": "numbers", "passed": passed, "level": "label", "evidence": ""},
            {"name": "links", "passed": not passed, "level": "label", "evidence": ""},
        ]

    rows = [answer_row(f"p_{n}", checks=checks(passed=n == 3)) for n in range(4)]
    store = write_answers(tmp_path, [*rows, answer_row("p_4")])
    field = "check:numbers"
    add_corrections(
        store,
        [
            *(correction(f"p_{n}", "passed" if n else "missed", field=field) for n in (0, 1, 3)),
            correction("p_0", "missed", annotator="ben", field=field),
            correction("p_1", "missed", annotator="ben", field=field),
            correction("p_2", "unsure", annotator="ben", field=field),
            correction("p_1", "no"),
            correction("p_1", "missed", field="check:links"),
        ],
    )
    ratings = read_ratings(store, [], field)
    found = {(*map(str, of.raters),): of.whole.counts for of in agree(ratings).pairs}
    assert found == {
        ("model:heron", "human:ana"): (1, 0, 1, 1),
        ("model:heron", "human:ben"): (0, 0, 0, 2),
        ("human:ana", "human:ben"): (0, 1, 0, 1),
    }
    assert ratings.unconverted == 1
    own = [row for row in long_table(ratings).to_pylist() if row["rater"] == "model:heron"]
    assert [(row["value"], row["said"]) for row in own] == [("yes", "missed")] * 3 + [
        ("no", "passed")
    ]
    with pytest.raises(ConfigError, match="check:quotes: no answer in the store has what"):
        read_ratings(store, [], "check:quotes")


def test_raters_are_chosen_by_kind_or_by_name(tmp_path):
    rows = [answer_row("p_1", model=m, judgements=judged(("j", "no"))) for m in ("heron", "stork")]
    store = write_answers(tmp_path, rows)

    def found(*wanted: str) -> list[str]:
        return [str(rater) for rater in read_ratings(store, wanted).raters]

    assert found() == ["model:heron", "model:stork", "judge:j"]
    assert found("model") == ["model:heron", "model:stork"]
    assert found("judge|model:stork") == found("stork", "judge") == ["model:stork", "judge:j"]
    with pytest.raises(ConfigError, match="storck: no such rater in the store; did you mean"):
        found("storck")


def test_a_judge_of_support_is_compared_only_where_it_is_named(tmp_path):
    judgements = judged(("judge:answers@1:heron", "yes"), ("judge:supported@1:heron", "no"))
    store = write_answers(tmp_path, [answer_row("p_1", judgements=judgements)])

    def found(*wanted: str) -> list[str]:
        return [str(rater) for rater in read_ratings(store, wanted).raters]

    assert found() == found("model", "judge") == ["model:heron", "judge:answers@1:heron"]
    assert found("model", "judge:supported@1:heron") == [
        "model:heron",
        "judge:supported@1:heron",
    ]


@pytest.mark.parametrize(("wanted", "there"), [(["human"], "no rater"), (["heron"], "model:heron")])
def test_one_rater_is_an_error_with_a_way_out(tmp_path, wanted, there):
    store = write_answers(tmp_path, [answer_row("p_1")])
    with pytest.raises(ConfigError, match=f"two raters, and there is {there}; let another model"):
        read_ratings(store, wanted)


def test_a_store_without_answers_is_an_error_with_a_way_out(tmp_path):
    with pytest.raises(ConfigError, match="no answers there; start with overnight run"):
        read_ratings(write_answers(tmp_path, []))


def test_questions_stand_in_their_natural_order_and_too_many_are_not_told_apart(tmp_path):
    def store_of(questions: int):
        rows = [
            answer_row(f"p_Q{n}", model=model) for n in range(questions) for model in ("a", "b")
        ]
        return write_answers(tmp_path / str(questions), rows)

    assert agree(read_ratings(store_of(12))).questions == [f"Q{n}" for n in range(12)]
    for questions in (1, 201):
        agreement = agree(read_ratings(store_of(questions)))
        assert (agreement.questions, agreement.pairs[0].questions) == ([], [])
        assert agreement.pairs[0].whole.n == questions


def test_parts_of_earlier_releases_have_no_judgements_and_no_verdicts(tmp_path):
    import pyarrow.parquet as pq

    store = write_answers(tmp_path, [answer_row("p_1", model=m) for m in ("heron", "stork")])
    (part,) = (tmp_path / "answers").glob("part-*")
    new = ["answers_question", "p_answered", "claims", "judgements"]
    pq.write_table(pq.read_table(part).drop_columns(new), part)
    assert len(read_ratings(store).raters) == 2
